// The theme opens its navigation, account menu and filters by clicks on parts that Tab skips: those become buttons.
const SKIPPED = ":is(a:not([href]), div, span)[x-on\\:click]";

document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll(SKIPPED)) {
        part.tabIndex = 0;
        part.setAttribute("role", "button");
        if (part.getAttribute("x-on:click").includes("sidebar")) part.setAttribute("aria-label", "Navigation");
    }
    // What is on another host or port has a login and a navigation of its own.
    for (const link of document.querySelectorAll("#nav-sidebar-apps a[href^=http]")) {
        if (link.origin === location.origin) continue;
        link.target = "_blank";
        link.rel = "noopener noreferrer";
        link.append(" ↗");
        link.title = "Opens in a new tab";
    }
});

document.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target.matches(SKIPPED)) {
        event.preventDefault();
        event.target.click();
    }
});
