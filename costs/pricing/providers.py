"""How providers are spelled (by litellm, Langfuse, OpenTelemetry, people) and what the price list calls them."""

from collections.abc import Mapping

_HUGGINGFACE_HOSTS = (
    "cerebras fireworks-ai groq hyperbolic nebius novita nscale ovhcloud publicai sambanova together".split()
)
_SPELLINGS: Mapping[str, str] = {
    "anthropic": "anthropic anthropic_text claude",
    "arcee": "arcee arcee_ai",
    "avian": "avian",
    "aws": "aws bedrock bedrock_converse bedrock_mantle aws_bedrock aws.bedrock amazon-bedrock amazon_bedrock amazon",
    "azure": "azure azure_ai azure_text azure_openai azure-openai azure.ai.openai azure.ai.inference az.ai.openai",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare workers_ai",
    "cohere": "cohere cohere_chat",
    "cursor": "cursor",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "doubleword": "doubleword",
    "elevenlabs": "elevenlabs",
    "fireworks": "fireworks fireworks_ai fireworks_ai-embedding-models fireworks-ai",
    "github-copilot": "github-copilot github_copilot copilot",
    "google": (
        "google gemini google-gla google-vertex google_genai google_ai_studio gcp.gemini gcp.vertex_ai gcp.gen_ai "
        "vertex vertexai vertex_ai vertex_ai_beta"
    ),
    "groq": "groq",
    **{f"huggingface_{host}": f"huggingface_{host}" for host in _HUGGINGFACE_HOSTS},
    "meta": "meta meta_llama",
    "minimax": "minimax",
    "mistral": "mistral mistral_ai mistralai codestral text-completion-codestral",
    "modal": "modal",
    "moonshotai": "moonshotai moonshot moonshot_ai",
    "novita": "novita novita_ai",
    "openai": "openai text-completion-openai openai_chat openai_responses openai_like",
    "openai-decisions": "openai-decisions",
    "openrouter": "openrouter",
    "ovhcloud": "ovhcloud ovhcloud_ai",
    "perplexity": "perplexity perplexity_ai",
    "quicksilverpro": "quicksilverpro",
    "together": "together together_ai together-ai togetherai",
    "typesafe": "typesafe",
    "voyageai": "voyageai voyage voyage_ai",
    "x-ai": "x-ai xai x_ai",
    "zai": "zai z-ai z_ai",
    "zhipuai": "zhipuai zhipu",
}
# litellm names the makers that Vertex AI sells behind a hyphen.
_VERTEX_FAMILIES = (
    "ai21 anthropic chat code code-chat code-text deepseek embedding image language llama minimax mistral moonshot "
    "openai qwen text video vision zai xai"
)

PROVIDERS: Mapping[str, str] = {
    **{spelling: listed for listed, spellings in _SPELLINGS.items() for spelling in spellings.split()},
    **{f"vertex_ai-{family}{end}": "google" for family in _VERTEX_FAMILIES.split() for end in ("-models", "_models")},
}

# Nobody sends a bill per token for these.
LOCAL = frozenset(
    "hosted_vllm llama_cpp llamafile lm_studio local localai ollama ollama_chat oobabooga triton vllm "
    "xinference".split()
)
