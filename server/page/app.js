// Polls the REST API once a second and draws what it says. Text goes in as text, never as HTML.

const API = "/api/v1";
const LOGIN = "/login.html";
const MEAN_OF = 10;
const byId = (id) => document.getElementById(id);

let chosen = null; // id of the experiment shown; null: the newest that runs
let episodes = [];
let episodesOf = null;

async function get(path) {
  const answer = await fetch(API + path);
  if (answer.status === 401) location.assign(LOGIN);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function number(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 0.01 || size === 0 ? value.toFixed(size < 1 ? 3 : digits) : value.toExponential(1);
}

function badge(target, text, kind) {
  target.textContent = text;
  target.className = `badge ${kind}`;
}

// The experiments.

function pick(experiments) {
  const found = experiments.find((e) => e.id === chosen);
  const running = experiments.filter((e) => e.state === "running");
  return found ?? running.at(-1) ?? experiments.at(-1);
}

function showChoice(experiments, shown) {
  const choice = byId("choice");
  choice.hidden = experiments.length < 2;
  const options = experiments.map((e) => {
    const option = element("option", "", `${e.name} (${e.state})`);
    option.value = e.id;
    option.selected = e.id === shown.id;
    return option;
  });
  if (document.activeElement !== choice) choice.replaceChildren(...options);
}

function showState(experiment) {
  const kinds = { running: "good", paused: "warn", failed: "bad" };
  badge(byId("state"), experiment.state, kinds[experiment.state] ?? "");
  byId("summary").textContent =
    `${experiment.name} · ${experiment.agent} · ${number(experiment.rows)} rows stored · ` +
    `policy ${experiment.policy_version ?? "none yet"}`;
  const troubled = ["restarting", "failed"].includes(experiment.learner.state);
  byId("trouble").hidden = !troubled;
  byId("trouble").textContent = `The learner is ${experiment.learner.state}: ${experiment.learner.reason}`;
}

// The learning curve.

function runningMean(values) {
  let sum = 0;
  return values.map((value, i) => {
    sum += value - (i >= MEAN_OF ? values[i - MEAN_OF] : 0);
    return sum / Math.min(i + 1, MEAN_OF);
  });
}

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: Math.floor((high - first) / step) + 1 }, (_, i) => first + i * step);
}

function drawCurve(values) {
  const box = { left: 62, right: 850, top: 10, bottom: 308 };
  if (values.length === 0) {
    byId("curve").replaceChildren(svg("text", { x: 340, y: 160 }, "No episode has ended yet."));
    return;
  }
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - room, high + room];
  const last = Math.max(values.length - 1, 1);
  const x = (i) => box.left + ((box.right - box.left) * i) / last;
  const y = (v) => box.bottom - ((box.bottom - box.top) * (v - low)) / (high - low);
  const drawn = [];
  for (const tick of ticks(low, high, 5)) {
    drawn.push(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }));
    drawn.push(svg("text", { x: box.left - 8, y: y(tick) + 4, "text-anchor": "end" }, number(+tick.toPrecision(6))));
  }
  for (const tick of ticks(0, last, 8).filter(Number.isInteger)) {
    drawn.push(svg("text", { x: x(tick), y: box.bottom + 18, "text-anchor": "middle" }, String(tick)));
  }
  drawn.push(svg("text", { x: box.right, y: 338, "text-anchor": "end" }, "episode"));
  values.forEach((v, i) => drawn.push(svg("circle", { class: "dot", cx: x(i), cy: y(v), r: 3 })));
  const base = values.slice(0, MEAN_OF).reduce((a, b) => a + b, 0) / Math.min(values.length, MEAN_OF);
  drawn.push(svg("line", { class: "base", x1: box.left, x2: box.right, y1: y(base), y2: y(base) }));
  const path = runningMean(values).map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`);
  drawn.push(svg("path", { class: "mean", d: path.join("") }));
  byId("curve").replaceChildren(...drawn);
}

async function showEpisodes(experiment) {
  if (episodesOf !== experiment.id) [episodes, episodesOf] = [[], experiment.id];
  const since = episodes.at(-1)?.ended_at ?? 0;
  const path = `/experiments/${experiment.id}/episodes?limit=1000&since=${since}`;
  const fresh = (await get(path)).items;
  if (episodesOf !== experiment.id) return;
  if (fresh.length === 0 && episodes.length > 0) return;
  episodes = episodes.concat(fresh);
  const values = episodes.map((e) => e.total_reward);
  const mean = runningMean(values).at(-1);
  byId("episodes").textContent = values.length
    ? `· ${values.length} episodes, mean of the last ${Math.min(values.length, MEAN_OF)}: ${number(mean)}`
    : "";
  drawCurve(values);
}

// The learner.

function showList(target, pairs) {
  target.replaceChildren(...pairs.flatMap(([k, v]) => [element("dt", "", k), element("dd", "", v)]));
}

function showLearner(experiment, latest) {
  const first = [
    ["state", experiment.learner.state],
    ["updates", number(experiment.learner.updates)],
    ["policy version", number(experiment.policy_version)],
    ["restarts", number(experiment.learner.restarts)],
  ];
  const rest = Object.keys(latest).sort().slice(0, 24).map((name) => [name, number(latest[name], 2)]);
  showList(byId("learner"), first.concat(rest));
}

// The robots.

function robotCard(robot) {
  const card = element("div", "robot");
  const title = element("h3", "", `${robot.name} `);
  const state = element("span");
  title.append(state);
  const image = element("img", "pixels");
  const none = element("div", "nopicture", "no camera");
  const facts = element("dl");
  card.append(title, image, none, facts);
  return { card, state, image, none, facts };
}

const cards = new Map();

function showRobot(robot) {
  if (!cards.has(robot.name)) cards.set(robot.name, robotCard(robot));
  const { card, state, image, none, facts } = cards.get(robot.name);
  const rung = robot.connected ? robot.safety ?? "connecting" : "offline";
  const kinds = { fresh: "good", cached: "warn", hold: "warn", stop: "bad", estop: "bad" };
  badge(state, rung, kinds[rung] ?? "");
  state.title = robot.reason ?? "";
  image.hidden = !robot.has_camera;
  none.hidden = robot.has_camera;
  if (robot.has_camera) image.src = `${API}/robots/${encodeURIComponent(robot.name)}/camera.png?${Date.now()}`;
  image.alt = `what ${robot.name} sees`;
  showList(facts, [
    ["rate", `${number(robot.loop_hz)} Hz (asked ${number(robot.control_hz)})`],
    ["policy version", number(robot.policy_version)],
    ["episode", number(robot.episode)],
    ["waiting to upload", `${number(robot.backlog_rows)} rows`],
    ["late ticks", number(robot.missed_ticks)],
    ["surprise", (robot.surprise ?? -1) < 0 ? "–" : `${number(robot.surprise)} nats`],
    ["task", robot.task.name ?? "–"],
  ]);
  return card;
}

function showRobots(robots, experiment) {
  const ours = robots.filter((r) => r.experiment === experiment.id);
  if (ours.length === 0) return;
  const shown = ours.map(showRobot);
  const target = byId("robots");
  if (shown.length !== target.children.length || shown.some((c, i) => c !== target.children[i])) {
    target.replaceChildren(...shown);
  }
}

// What the world model expects.

let reportAt = 0;

function showReport(experiment) {
  if (Date.now() - reportAt < 5000) return; // the picture changes rarely
  reportAt = Date.now();
  const image = new Image();
  image.onload = () => {
    byId("strip").src = image.src;
    byId("report").hidden = false;
  };
  image.onerror = () => { byId("report").hidden = true; };
  image.src = `${API}/experiments/${experiment.id}/reports/latest?${reportAt}`;
}

async function refresh() {
  const experiments = (await get("/experiments?limit=1000")).items;
  if (experiments.length === 0) {
    byId("summary").textContent = "No experiment yet: dreamfleet experiments create";
    return;
  }
  const experiment = pick(experiments);
  const [{ items: robots }, metrics] = await Promise.all([
    get("/robots?limit=1000"),
    get(`/metrics?experiment=${experiment.id}`),
    showEpisodes(experiment),
  ]);
  showChoice(experiments, experiment);
  showState(experiment);
  showLearner(experiment, metrics.latest);
  showRobots(robots, experiment);
  if (experiment.learner.updates > 0) showReport(experiment);
}

async function poll() {
  try {
    await refresh();
    byId("link").hidden = true;
  } catch (error) {
    console.warn(error);
    byId("link").hidden = false;
  }
  setTimeout(poll, 1000);
}

async function showCaller() {
  const caller = await get("/whoami");
  byId("logout").hidden = caller.name === "loopback";
  byId("logout").title = `signed in as ${caller.name} (${caller.role})`;
}

byId("logout").addEventListener("click", async () => {
  await fetch(`${API}/logout`, { method: "POST" });
  location.assign(LOGIN);
});
byId("choice").addEventListener("change", (event) => {
  chosen = event.target.value;
  reportAt = 0;
});
showCaller();
poll();
