# The image of every role: web, worker, beat, Flower and one-off commands. It holds no server and no secret.
FROM python:3.13-slim AS packages
# requirements-archive: the same image with what `manage.py archive` needs.
ARG REQUIREMENTS=requirements
COPY ${REQUIREMENTS}.txt /requirements.txt
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes --requirement /requirements.txt

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FINOPS_ENV=production \
    GRANIAN_LOG_CONFIG=/app/finops_project/granian.json \
    CELERY_QUIET=1 \
    FLOWER_TASKS_COLUMNS=name,uuid,state,args,kwargs,received,runtime,worker \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics \
    DJANGO_SETTINGS_MODULE=finops_project.settings \
    DJANGO_STATIC_ROOT=/app/staticfiles
# /files: where a volume for backups and archives is mounted, which takes its owner from here.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin finops && install --directory --owner finops /files
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY finops_project finops_project
COPY costs costs
COPY controls controls
COPY alerts alerts
COPY anomalies anomalies
# The files are collected with a throw-away secret; the image keeps none, and no folder of metrics that would be root's.
RUN env -u PROMETHEUS_MULTIPROC_DIR \
    DJANGO_SECRET_KEY=only-for-collecting-files-at-build-time-and-never-for-serving-anything \
    python manage.py collectstatic --noinput --verbosity 0 && python -m compileall -q .
USER 10001
EXPOSE 8080
# The file system may be read-only: only /tmp is written, and mounted as memory.
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8080", "--workers", "2", \
     "--blocking-threads", "64", "--no-ws", "--respawn-failed-workers", "--workers-kill-timeout", "10", \
     "finops_project.wsgi:application"]
