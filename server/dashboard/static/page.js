// What a page does without the server: camera pictures, signing out, sending a dataset's file, and
// looking through an episode.

// Fetch each picture again, half a second after the last one has come; none while nobody looks.
setInterval(() => {
  if (document.hidden) return;
  for (const image of document.querySelectorAll("img[data-live]")) {
    if (image.offsetParent === null || image.dataset.busy) continue;
    const next = new Image();
    image.dataset.busy = "1";
    next.onload = () => { image.src = next.src; delete image.dataset.busy; };
    next.onerror = () => { delete image.dataset.busy; };
    next.src = `${image.dataset.live}?${Date.now()}`;
  }
}, 500);

// The server's clock ticks while its news arrive; when it stands still, what is shown is old.
let tick = { text: "", at: Date.now() };
setInterval(() => {
  const text = document.getElementById("server-time")?.textContent ?? "";
  if (text !== tick.text || document.hidden) tick = { text, at: Date.now() };
  document.body.classList.toggle("stale", Date.now() - tick.at > 4000);
}, 500);

async function signOut() {
  await fetch("/api/v1/logout", { method: "POST" });
  location.assign("/login.html");
}

// Send a dataset from the disk straight to REST, which writes it down as it comes.
function importDataset() {
  const box = document.getElementById("import");
  const bar = document.getElementById("import-bar");
  const say = (text) => { document.getElementById("import-said").textContent = text; };
  const name = box.querySelector("[data-mark='import-name']").value.trim();
  const file = document.getElementById("import-file").files[0];
  if (!name || !file) return say("It takes a name and a file.");
  const query = new URLSearchParams(box.dataset.robot ? { robot: box.dataset.robot } : {});
  const request = new XMLHttpRequest();
  request.open("PUT", `/api/v1/datasets/${encodeURIComponent(name)}?${query}`);
  request.responseType = "json";
  request.upload.onprogress = (sent) => { bar.value = sent.loaded / Math.max(1, sent.total); };
  request.onloadend = () => {
    bar.hidden = true;
    if (request.status === 202) return say(`${name} has arrived; its job is among those listed.`);
    say(request.response?.detail ?? "The connection is lost; nothing is imported.");
  };
  say(`sending ${file.name}`);
  bar.value = 0;
  bar.hidden = false;
  request.send(file);
}

// Look through an episode: slider, play button and the pointer over the chart all say which row.
let episode = null;

function lookThrough(about) {
  lookThrough.stop();
  episode = { ...about, at: 0 };
  const slider = document.getElementById("episode-row");
  slider.max = about.rows.length - 1;
  slider.oninput = () => lookThrough.to(Number(slider.value), true);
  const chart = () => getElement(Number(about.chart.slice(1)))?.chart;
  const listen = () => {
    if (!chart()) return setTimeout(listen, 50);
    const values = (shown) => {
      if (chart().getOption().tooltip[0].showContent === shown) return;
      chart().setOption({ tooltip: { showContent: shown } });
    };
    chart().getZr().on("globalout", () => {
      values(false);
      episode.show(episode.at);
    });
    chart().getZr().on("mousemove", (event) => {
      values(true);
      const x = chart().convertFromPixel({ xAxisIndex: 0 }, event.offsetX);
      if (Number.isFinite(x)) lookThrough.to(lookThrough.nearest(x), false);
    });
    lookThrough.to(0, true);
  };
  episode.show = (index) => chart()?.dispatchAction({ type: "showTip", seriesIndex: 0, dataIndex: index });
  listen();
}

// The values at a row: its number once, then a line for each signal.
lookThrough.told = (found) => {
  const box = document.createElement("div");
  const line = (text) => box.appendChild(document.createElement("div")).append(text);
  line(`row ${found[0].axisValue}`);
  for (const one of found) {
    const value = one.value[1] === null ? "" : Number(Number(one.value[1]).toPrecision(4));
    line(`${one.seriesName}: ${value}`);
    box.lastChild.style.color = one.color;
  }
  return box;
};

lookThrough.nearest = (row) => {
  let best = 0;
  episode.rows.forEach((other, index) => {
    if (Math.abs(other - row) < Math.abs(episode.rows[best] - row)) best = index;
  });
  return best;
};

// Pictures come one at a time; the newest row that was asked for is fetched next.
lookThrough.to = (index, point) => {
  episode.at = index;
  document.getElementById("episode-row").value = index;
  document.getElementById("episode-at").textContent = `row ${episode.rows[index]}`;
  for (const picture of episode.pictures) lookThrough.fetch(picture);
  if (point) episode.show(index);
};

lookThrough.fetch = (picture) => {
  const shown = document.getElementById(picture.id);
  const row = episode.rows[episode.at];
  if (!shown || picture.busy || picture.row === row) return;
  picture.busy = true;
  const next = new Image();
  next.onload = next.onerror = () => {
    if (next.width) shown.src = next.src;
    picture.row = row;
    picture.busy = false;
    lookThrough.fetch(picture);
  };
  next.src = `${picture.path}/${row}.png`;
};

lookThrough.stop = () => {
  clearInterval(lookThrough.timer);
  lookThrough.timer = null;
};

lookThrough.play = () => {
  if (lookThrough.timer) return lookThrough.stop();
  lookThrough.timer = setInterval(() => {
    if (!document.getElementById("episode-row")) return lookThrough.stop();
    const next = episode.at + 1;
    lookThrough.to(next < episode.rows.length ? next : 0, true);
  }, 80);
};
