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

let shown = parsed(figures.innerHTML);
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
    readAt.textContent = `Read at ${fresh.querySelector("[data-read-at]").dataset.readAt} UTC.`;
    if (partsOf(fresh).join() === partsOf(shown).join()) {
        for (const name of partsOf(fresh)) replacePart(name, fresh);
    } else {
        forget(figures);
        keepingFocus(() => figures.replaceChildren(...copies(fresh)));
    }
    shown = fresh;
    drawAll(figures);
}

// A part of cards and tables, or a figure that has a plot or has none.
function partsOf(body) {
    const parts = [...body.querySelectorAll("[data-part]")].map((part) => `[data-part="${part.dataset.part}"]`);
    const plots = [...body.querySelectorAll(".finops-plot")];
    return [...parts, ...plots.map((plot) => (plot.querySelector("canvas") ? `#${plot.id}:has(canvas)` : `#${plot.id}:not(:has(canvas))`))];
}

function replacePart(selector, fresh) {
    const [before, after] = [shown.querySelector(selector), fresh.querySelector(selector)];
    if (before.innerHTML === after.innerHTML) return;
    const here = figures.querySelector(selector);
    if (!here.querySelector("canvas")) {
        keepingFocus(() => here.replaceChildren(...copies(after)));
        return;
    }
    // The canvas stays, and whether its values are open.
    for (const part of ["figcaption", ".finops-legend", "table"]) {
        const [old, fresher] = [here.querySelector(part), after.querySelector(part)];
        if (old && fresher && old.innerHTML !== fresher.innerHTML) keepingFocus(() => old.replaceChildren(...copies(fresher)));
    }
}

function copies(part) {
    return [...part.childNodes].map((node) => document.importNode(node, true));
}

function keepingFocus(change) {
    const focused = document.activeElement;
    const address = figures.contains(focused) && focused.getAttribute("href");
    change();
    if (address && !focused.isConnected) figures.querySelector(`a[href="${CSS.escape(address)}"]`)?.focus({preventScroll: true});
}

button.hidden = false;
button.addEventListener("click", read);
document.addEventListener("visibilitychange", next);
next();
