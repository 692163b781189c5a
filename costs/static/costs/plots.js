// Draws each figure from the table that stands beneath it: what is drawn, hovered and read is one and the same value.
// Bars, lines and levels differ by their strokes and marks, not only by their colours.

const STROKES = {
    series: {dash: [], mark: "circle"},
    expected: {dash: [3, 3], mark: "rectRot"},
    target: {dash: [8, 4], mark: false},
    alert: {dash: [2, 3], mark: false},
    baseline: {dash: [8, 4], mark: false},
    moment: {dash: [], mark: false},
};
const charts = new Map();

export function drawAll(root = document) {
    for (const figure of root.querySelectorAll(".finops-plot:has(canvas)")) draw(figure);
}

export function forget(root) {
    for (const [figure, chart] of charts) {
        if (!root.contains(figure)) continue;
        chart.destroy();
        charts.delete(figure);
    }
}

function draw(figure) {
    const config = configured(figure);
    const chart = charts.get(figure);
    if (!chart) {
        charts.set(figure, new Chart(figure.querySelector("canvas"), config));
        return;
    }
    chart.data = config.data;
    chart.options = config.options;
    chart.update("none");
}

function configured(figure) {
    const plot = read(figure);
    const colours = palette(figure);
    if (plot.kind === "ranks") figure.querySelector(".finops-canvas").style.height = `${plot.rows.length * 1.85 + 3}rem`;
    return {
        type: plot.kind === "bars" || plot.kind === "ranks" ? "bar" : "line",
        data: {labels: plot.rows.map((row) => row.label), datasets: plot.columns.map((_, place) => series(plot, place, colours))},
        options: options(plot, colours),
        plugins: [{id: "levels", afterDatasetsDraw: drawMarks}],
    };
}

// ---- what the table says

function read(figure) {
    const rows = [...figure.querySelectorAll("tbody tr")].map((row) => ({
        label: row.cells[0].querySelector("a")?.textContent ?? row.cells[0].firstChild.textContent.trim(),
        note: row.cells[0].querySelector(".finops-quiet")?.textContent ?? "",
        href: row.dataset.href,
        x: row.dataset.x === undefined ? null : Number(row.dataset.x),
        cells: [...row.cells].slice(1).map((cell) => ({
            value: cell.dataset.value === "" ? null : Number(cell.dataset.value),
            words: cell.textContent,
        })),
    }));
    const marked = (name) => [...figure.querySelectorAll(`.finops-legend [data-${name}]`)];
    return {
        kind: figure.dataset.plot,
        unit: figure.dataset.unit,
        around: figure.dataset.around ?? "what lies behind",
        rows,
        isTimed: rows.length > 0 && rows.every((row) => row.x !== null),
        columns: [...figure.querySelectorAll("thead th")].slice(1).map((head) => ({name: head.textContent, look: head.dataset.look})),
        levels: marked("level").map((part) => ({name: part.dataset.name, words: part.textContent, look: part.dataset.look, value: Number(part.dataset.level)})),
        moments: marked("moment").map((part) => ({name: part.dataset.name, x: Number(part.dataset.moment)})),
    };
}

function palette(figure) {
    const style = getComputedStyle(figure);
    const names = ["series", "expected", "target", "alert", "baseline", "moment", "ink", "grid", "paper"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--plot-${name}`).trim()]));
}

// ---- how it is drawn

function series(plot, place, colours) {
    const look = plot.columns[place].look;
    const isBar = plot.kind === "bars" || plot.kind === "ranks";
    const isExpected = look === "expected";
    const values = plot.rows.map((row) => row.cells[place].value);
    return {
        label: plot.columns[place].name,
        data: plot.isTimed ? plot.rows.map((row, number) => ({x: row.x, y: values[number]})) : values,
        borderColor: colours[look],
        backgroundColor: isBar ? (isExpected ? hatched(colours.expected, colours.paper) : colours[look]) : colours.paper,
        borderWidth: isBar ? (isExpected ? 1 : 0) : 2,
        borderDash: STROKES[look].dash,
        pointStyle: STROKES[look].mark,
        pointRadius: plot.rows.length > 150 ? 0 : plot.rows.length > 60 ? 2 : 4,
        pointHoverRadius: 6,
        pointBackgroundColor: colours[look],
        showLine: plot.kind !== "points",
        stepped: plot.kind === "steps" ? "before" : false,
        spanGaps: true,
        grouped: false,
        maxBarThickness: plot.kind === "ranks" ? 18 : 48,
        clip: 8,
    };
}

function hatched(ink, paper) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    pen.fillStyle = paper;
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = ink;
    for (const shift of [-8, 0, 8]) {
        pen.moveTo(shift, 8);
        pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
    return pen.createPattern(tile, "repeat");
}

function options(plot, colours) {
    const isRanks = plot.kind === "ranks";
    const names = {grid: {display: false}, ticks: {color: colours.ink, autoSkipPadding: 12, maxRotation: 0}, border: {color: colours.grid}};
    const amounts = {
        beginAtZero: true,
        suggestedMax: Math.max(0, ...plot.levels.map((level) => level.value * 1.1)),
        grace: isRanks ? 0 : "4%",
        grid: {color: colours.grid},
        border: {display: false},
        ticks: {color: colours.ink, maxTicksLimit: isRanks ? 4 : 6, callback: (value) => printed(value, plot.unit)},
    };
    if (isRanks) {
        const shown = function (place) { return shortened(plot.rows[place].label, this.chart.width < 420 ? 16 : 22); };
        names.ticks = {...names.ticks, autoSkip: false, callback: shown};
    }
    if (plot.isTimed) Object.assign(names, timed(plot, colours));
    return {
        indexAxis: isRanks ? "y" : "x",
        animation: false,
        maintainAspectRatio: false,
        responsive: true,
        interaction: {mode: "nearest", axis: isRanks ? "y" : "x", intersect: false},
        // Room for the amounts that stand at the ends of the bars.
        layout: {padding: {top: 14, right: isRanks ? 58 : 6}},
        scales: isRanks ? {x: amounts, y: names} : {x: names, y: amounts},
        onClick: (event, found, chart) => follow(event, found[0] && plot.rows[found[0].index].href, chart),
        onHover: (event, found) => {
            event.native.target.style.cursor = found[0] && plot.rows[found[0].index].href ? "pointer" : "default";
        },
        plugins: {
            legend: {display: false},
            tooltip: {
                displayColors: false,
                callbacks: {
                    title: ([item]) => item && told(plot.rows[item.dataIndex]),
                    label: (item) => `${plot.columns[item.datasetIndex].name}: ${plot.rows[item.dataIndex].cells[item.datasetIndex].words}`,
                    afterBody: () => plot.levels.map((level) => level.words),
                    footer: ([item]) => (item && plot.rows[item.dataIndex].href ? `Click: ${plot.around}` : ""),
                },
                filter: (item) => plot.rows[item.dataIndex].cells[item.datasetIndex].value !== null,
            },
            levels: {plot, colours},
        },
    };
}

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const STEPS = [5 * SECOND, 15 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 10 * DAY, 30 * DAY, 90 * DAY, 365 * DAY];

// An axis of time with its ticks on full minutes, hours or days of UTC.
function timed(plot, colours) {
    const places = [...plot.rows.map((row) => row.x), ...plot.moments.map((moment) => moment.x)];
    const [first, last] = [Math.min(...places), Math.max(...places)];
    // A single point still needs some time around it.
    const around = Math.max((last - first) * 0.02, (30 * SECOND - (last - first)) / 2);
    const build = (axis) => {
        const fits = (step) => ((axis.max - axis.min) / step) * (step >= DAY ? 85 : 60) <= Math.max(axis.width, 120);
        const step = STEPS.find(fits) ?? STEPS.at(-1);
        axis.ticks = [];
        for (let at = Math.ceil(axis.min / step) * step; at <= axis.max; at += step) axis.ticks.push({value: at, label: clock(at, step)});
    };
    return {
        type: "linear",
        min: first - around,
        max: last + around,
        afterBuildTicks: build,
        ticks: {color: colours.ink, autoSkip: false, maxRotation: 0, callback: (value, place, ticks) => ticks[place].label},
    };
}

function clock(milliseconds, step) {
    const text = new Date(milliseconds).toISOString();
    if (step >= DAY) return text.slice(0, 10);
    if (milliseconds % DAY === 0) return text.slice(5, 10);
    return step >= MINUTE ? text.slice(11, 16) : text.slice(11, 19);
}

function printed(value, unit) {
    const number = Number(value.toPrecision(6)).toLocaleString("en-US", {maximumFractionDigits: 12});
    return unit === "$" ? `$${number}` : number;
}

function told(row) {
    return row.note ? `${row.label}, ${row.note}` : row.label;
}

function shortened(name, most) {
    return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}

function follow(event, href, chart) {
    if (!href) return;
    const area = chart.chartArea;
    if (event.y < area.top || event.y > area.bottom + 30) return;
    if (event.native.ctrlKey || event.native.metaKey) window.open(href, "_blank", "noopener");
    else window.location.assign(href);
}

// Levels across, moments down, and on ranks the amount at the end of each bar.
function drawMarks(chart, _, {plot, colours}) {
    if (!plot) return;
    const {ctx: pen, chartArea: area, scales} = chart;
    pen.save();
    pen.font = `600 11px ${Chart.defaults.font.family}`;
    pen.lineWidth = 1.5;
    for (const level of plot.levels) {
        const y = scales.y.getPixelForValue(level.value);
        stroke(pen, colours[level.look], STROKES[level.look].dash, [area.left, y], [area.right, y]);
        label(pen, colours, level.words, area.left + 4, y - 4, colours[level.look]);
    }
    for (const moment of plot.moments) {
        const x = scales.x.getPixelForValue(moment.x);
        stroke(pen, colours.moment, [], [x, area.top - 6], [x, area.bottom]);
        pen.textAlign = x > (area.left + area.right) / 2 ? "right" : "left";
        label(pen, colours, ` ${moment.name} `, x, area.top - 4, colours.moment);
        pen.textAlign = "left";
    }
    if (plot.kind === "ranks") {
        chart.getDatasetMeta(0).data.forEach((bar, place) => {
            const [row, x] = [plot.rows[place], Math.max(bar.x, area.left) + 4];
            const noted = row.note ? `${rounded(row.cells[0].value)}, ${row.note}` : rounded(row.cells[0].value);
            const words = x + pen.measureText(noted).width < chart.width ? noted : rounded(row.cells[0].value);
            label(pen, colours, words, x, bar.y + 4, colours.ink);
        });
    }
    pen.restore();
}

function rounded(value) {
    return `$${Number(value.toPrecision(4)).toLocaleString("en-US", {maximumFractionDigits: 8})}`;
}

function stroke(pen, colour, dash, from, to) {
    pen.strokeStyle = colour;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
}

function label(pen, colours, words, x, y, colour) {
    // A halo of the paper keeps it readable above bars and lines.
    pen.setLineDash([]);
    pen.lineWidth = 3;
    pen.strokeStyle = colours.paper;
    pen.strokeText(words, x, y);
    pen.lineWidth = 1.5;
    pen.fillStyle = colour;
    pen.fillText(words, x, y);
}

Chart.defaults.font.family = "Inter, sans-serif";
Chart.defaults.font.size = 12;
drawAll();
// Another theme, other colours: also when the theme is only found out after this ran.
new MutationObserver(() => drawAll()).observe(document.documentElement, {attributeFilter: ["class"]});
