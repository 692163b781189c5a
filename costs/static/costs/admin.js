// The theme opens its navigation, account menu and filters by clicks on parts that Tab skips: those become buttons.
const SKIPPED = ":is(a:not([href]), div, span)[x-on\\:click]";

document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll(SKIPPED)) {
        part.tabIndex = 0;
        part.setAttribute("role", "button");
        if (part.getAttribute("x-on:click").includes("sidebar")) part.setAttribute("aria-label", "Navigation");
    }
});

document.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target.matches(SKIPPED)) {
        event.preventDefault();
        event.target.click();
    }
});
