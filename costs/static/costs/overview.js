// The first page reads itself again every half minute: only what changed is put in place, where the reader is stays.
// A page that nobody sees waits; one that cannot be read says so and since when its figures stand.

import {drawAll, forget} from "./plots.js";

const PATIENCE = 10_000;
const frame = document.getElementById("overview");
const figures = document.getElementById("figures");
const readAt = document.getElementById("read-at");
const state = document.getElementById("refresh-state");
const button = document.getElementById("refresh-now");
const every = Number(frame.dataset.seconds) * 1000;

let shownAt = figures.querySelector("[data-read-at]").dataset.readAt;
let timer = null;
let last = Date.now();

class Unreadable extends Error {}

function parsed(text) {
    return new DOMParser().parseFromString(text, "text/html").body;
}

async function read() {
    clearTimeout(timer);
    last = Date.now();
    try {
        show(await fetched());
        state.textContent = "";
    } catch (error) {
        const why = error instanceof Unreadable ? error.message : "the server does not answer";
        state.textContent = `These figures could not be read again: ${why}.`;
    }
    frame.classList.toggle("stale", state.textContent !== "");
    next();
}

async function fetched() {
    const answer = await fetch(frame.dataset.url, {signal: AbortSignal.timeout(PATIENCE), credentials: "same-origin"});
    if (answer.redirected) throw new Unreadable("you are not logged in any more");
    if (!answer.ok) throw new Unreadable(`the server answers ${answer.status}`);
    const body = parsed(await answer.text());
    if (!body.querySelector("[data-read-at]")) throw new Unreadable("the server sent something else");
    return body;
}

function next() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(read, Math.max(every - (Date.now() - last), 0));
}

function show(fresh) {
    const at = fresh.querySelector("[data-read-at]").dataset.readAt;
    const [known, found] = [partsOf(figures), partsOf(fresh)];
    // What took too long this time stays as it was, and says so.
    const isWhole = !fresh.querySelector("[data-too-slow]");
    const [looked, top] = whatIsLookedAt();
    if (isWhole ? known.join() === found.join() : found.every((name) => known.includes(name))) {
        for (const name of known) found.includes(name) ? replacePart(name, fresh) : markOld(figures.querySelector(name));
    } else {
        replaceAll(fresh);
    }
    readAt.textContent = `Read at ${at} UTC.`;
    shownAt = at;
    drawAll(figures);
    const here = looked && figures.querySelector(looked);
    if (here) window.scrollBy({top: here.getBoundingClientRect().top - top, behavior: "instant"});
}

// What has the focus, else the uppermost part in the window: its address, and how far from the top it stands.
function whatIsLookedAt() {
    const focused = figures.contains(document.activeElement) && addressOf(document.activeElement);
    const parts = [...figures.querySelectorAll("[data-part], .finops-plot")];
    const part = focused ? document.activeElement : parts.find((each) => each.getBoundingClientRect().bottom > 0);
    if (!part || window.scrollY === 0) return [null, 0];
    return [focused || (part.id ? `#${part.id}` : `[data-part="${part.dataset.part}"]`), part.getBoundingClientRect().top];
}

// A card, a part of others, or a figure that has a plot or has none.
function partsOf(body) {
    const parts = [...body.querySelectorAll("[data-part]")].map((part) => `[data-part="${part.dataset.part}"]`);
    const plots = [...body.querySelectorAll(".finops-plot")];
    return [...parts, ...plots.map((plot) => (plot.querySelector("canvas") ? `#${plot.id}:has(canvas)` : `#${plot.id}:not(:has(canvas))`))];
}

function markOld(part) {
    part.dataset.old ??= shownAt;
}

function replacePart(selector, fresh) {
    const [here, after] = [figures.querySelector(selector), fresh.querySelector(selector)];
    delete here.dataset.old;
    if (here.matches(".finops-cards")) replaceCards(here, after, fresh);
    else if (here.querySelector("canvas")) replaceFigure(here, after);
    else replaceContent(here, after);
}

// A card that took too long stays behind those that were read.
function replaceCards(here, after, fresh) {
    if (fresh.querySelector("[data-too-slow]")) {
        for (const card of here.querySelectorAll(".finops-card[id]")) {
            if (after.querySelector(`#${card.id}`)) continue;
            const kept = after.appendChild(card.cloneNode(true));
            markOld(kept);
        }
    }
    replaceContent(here, after);
}

// The canvas stays, and whether its values are open.
function replaceFigure(here, after) {
    for (const part of ["figcaption", "table"]) replaceContent(here.querySelector(part), after.querySelector(part));
    const [old, fresher] = [here.querySelector(".finops-legend"), after.querySelector(".finops-legend")];
    if (old && fresher) replaceContent(old, fresher);
    else if (old) old.remove();
    else if (fresher) here.querySelector(".finops-canvas").after(document.importNode(fresher, true));
}

function replaceContent(old, fresher) {
    if (old.innerHTML !== fresher.innerHTML) keepingFocus(() => old.replaceChildren(...copies(fresher)));
}

function replaceAll(fresh) {
    const open = [...figures.querySelectorAll(".finops-plot:has(details[open])")].map((figure) => figure.id);
    forget(figures);
    keepingFocus(() => {
        figures.replaceChildren(...copies(fresh));
        for (const id of open) figures.querySelector(`#${id} details`)?.setAttribute("open", "");
    });
}

function copies(part) {
    return [...part.childNodes].map((node) => document.importNode(node, true));
}

function keepingFocus(change) {
    const focused = document.activeElement;
    const address = figures.contains(focused) && addressOf(focused);
    change();
    if (address && !focused.isConnected) figures.querySelector(address)?.focus({preventScroll: true});
}

// A link by where it leads, the head of a plot's values by its plot.
function addressOf(element) {
    if (element.matches("summary")) return `#${element.closest(".finops-plot").id} summary`;
    const href = element.getAttribute("href");
    return href && `a[href="${CSS.escape(href)}"]`;
}

button.hidden = false;
button.addEventListener("click", read);
document.addEventListener("visibilitychange", next);
next();
