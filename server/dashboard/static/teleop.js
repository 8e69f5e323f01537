// Driving a robot: what hands do on this page goes to REST's socket, 20 times per second.
//
// A dead man's switch: an action is sent only while a finger is on a control, a key is down, or a
// stick is out of its middle; else the robot is asked to hold. What ends a motion ends it for good:
// after the window has lost the focus, the page was hidden or answers stayed away, a key that is
// still down does nothing until it is pressed anew. A page that is hidden, gone, or that nobody has
// touched for a while says nothing, and the robot draws its own conclusions by its own clock.
const RATE_MS = 50, DEADBAND = 0.15;
const PATIENCE_MS = 5000; // for the robot to say that it is driven
const QUIET_MS = 1000; // without an answer, what is shown is old
const YAWN_MS = 15000, ASLEEP_MS = 20000; // without a hand or a pointer that moves
const ALONE = "The robot holds by its own clock; then it stops, or goes on as it was told to.";

const driving = {
  turn: null, // the take-over that is on: see `connect`
  asking: false, // for the lease
  keys: new Map(), // physical key -> its name
  pointers: new Map(), // pointer that is down -> the control it is on
  places: new Map(), // pad that is held -> where it was when it was pressed
  axes: {}, // of controls that are held
  centred: new Set(), // axes of the gamepad that have been seen in their middle
};

driving.box = () => document.querySelector("[data-drive]");

// What holds now, in words and in the colour of its kind: off, wait, hold, act or bad.
driving.say = (text, kind = "off") => {
  const place = document.getElementById("drive-said");
  if (!place) return;
  if (place.textContent !== text) place.textContent = text;
  driving.box().dataset.drives = kind;
};

driving.begin = async () => {
  if (driving.turn || driving.asking) return;
  Object.assign(driving, { asking: true, centred: new Set() });
  driving.say("Asking for the robot …", "wait");
  try {
    const lease = await driving.borrow();
    if (lease) driving.connect(lease);
  } catch {
    driving.say("The server is out of reach.", "bad");
  } finally {
    driving.asking = false;
    if (!driving.turn) driving.letGo();
  }
};

driving.ask = (method, query = {}) =>
  fetch(`${driving.box().dataset.drive}/teleop?${new URLSearchParams(query)}`, { method });

// The lease; null when it is not to be had. A window of the same name may be taken it from.
driving.borrow = async () => {
  let answer = await driving.ask("PUT");
  if (answer.status === 409) {
    const { holder } = await (await driving.ask("GET")).json();
    const question = `${holder} has this robot already, perhaps in another window. Take it from there?`;
    if (holder === driving.box().dataset.me && window.confirm(question)) {
      driving.letGo(); // what was let go meanwhile was not heard
      answer = await driving.ask("PUT", { instead: true });
    }
  }
  const found = await answer.json();
  if (answer.ok) return found;
  driving.say(found.detail, "bad");
  return null;
};

driving.connect = ({ secret, holder }) => {
  const url = new URL(`${driving.box().dataset.drive}/teleop/input`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url), now = performance.now();
  const turn = { secret, holder, socket, begunAt: now, answeredAt: now, seenAt: now, mine: false };
  driving.turn = turn;
  turn.timer = setInterval(driving.beat, RATE_MS);
  socket.onmessage = (event) => driving.turn === turn && driving.heard(JSON.parse(event.data));
  socket.onclose = (event) => {
    if (driving.turn !== turn) return;
    driving.drop();
    driving.say(`You drive no more: ${event.reason || "the connection is lost"}. ${ALONE}`, "bad");
  };
};

// End the turn on this side.
driving.drop = () => {
  const turn = driving.turn;
  clearInterval(turn?.timer);
  driving.turn = null;
  driving.letGo();
  return turn;
};

// Hand back: say so on the socket first, which is quicker than giving the lease back.
driving.end = async (why = "Handed back: its policy drives.", kind = "off") => {
  if (!driving.turn) return;
  driving.tell(false);
  const { socket, secret } = driving.drop();
  driving.say(why, kind);
  await driving.ask("DELETE", { secret }).catch(() => {});
  socket.close();
};

// The sticks that are out of their middle, and have been in it before.
driving.sticks = () => {
  if (!document.hasFocus()) { // every window in sight hears the gamepad
    driving.centred.clear();
    return {};
  }
  const pad = [...(navigator.getGamepads?.() ?? [])].find((found) => found?.mapping === "standard");
  const found = {};
  for (const [index, value] of (pad?.axes ?? []).entries()) {
    if (Math.abs(value) <= DEADBAND) driving.centred.add(index);
    else if (driving.centred.has(index)) found[index] = index % 2 ? -value : value;
  }
  return found;
};

driving.touched = (sticks) => driving.pointers.size + driving.keys.size + Object.keys(sticks).length > 0;

// Tell the robot what the hands want.
driving.tell = (engaged = true) => {
  const { socket, secret } = driving.turn, sticks = driving.sticks();
  if (socket.readyState !== WebSocket.OPEN) return;
  const axes = { ...driving.axes, ...sticks };
  const size = Math.max(-1, ...Object.keys(axes).map(Number)) + 1;
  socket.send(JSON.stringify({
    secret, engaged, sent: performance.now() / 1000, wish: driving.touched(sticks) ? "act" : "hold",
    axes: Array.from({ length: size }, (_, number) => axes[number] ?? 0), keys: [...driving.keys.values()],
  }));
};

driving.beat = () => {
  const { turn } = driving, now = performance.now(), quiet = now - turn.answeredAt;
  if (driving.touched(driving.sticks())) turn.seenAt = now;
  const idle = now - turn.seenAt;
  if (document.hidden) return;
  if (idle > ASLEEP_MS) {
    turn.answeredAt = now;
    return driving.say(`Nobody seems to be here, so this page says nothing. ${ALONE}`, "bad");
  }
  if (quiet > QUIET_MS) {
    driving.letGo();
    driving.say(`No answer for ${Math.round(quiet / 1000)} s. ${ALONE}`, "bad");
  }
  driving.tell();
};

// The robot has the last word on who drives.
driving.heard = (answer) => {
  const { turn } = driving, now = performance.now(), mine = answer.driver === turn.holder;
  turn.answeredAt = now;
  if (answer.safety === null) { // it says nothing, or not yet again: nobody has said that the policy may drive
    driving.letGo();
    return driving.say(`The robot is out of reach. ${ALONE}`, "bad");
  }
  if (!mine && (turn.mine || now - turn.begunAt > PATIENCE_MS)) {
    return driving.end(`The take-over is over: ${answer.reason || answer.safety || "out of reach"}.`, "bad");
  }
  turn.mine = mine;
  if (now - turn.seenAt > ASLEEP_MS) return;
  if (!mine) driving.say("Taking over …", "wait");
  else if (answer.action !== null) driving.say(`You drive: ${driving.words(answer.action)}`, "act");
  else if (now - turn.seenAt > YAWN_MS) driving.say("The robot holds. Are you there? Touch a control.", "hold");
  else driving.say("Hands off: the robot holds.", "hold");
};

driving.words = (action) => [action].flat().map((number) => +number.toFixed(2)).join(", ");

// No control is held any more, whatever hands do.
driving.letGo = () => {
  driving.keys.clear();
  driving.centred.clear();
  for (const pointer of [...driving.pointers.keys()]) driving.lift(pointer);
};

// What ends the motion at once, and is not to wait for the next beat.
driving.halt = (why) => {
  driving.letGo();
  if (!driving.turn) return;
  driving.tell();
  driving.say(`${why}: the robot holds. Press anew to go on.`, "hold");
};

driving.press = (control, event) => {
  driving.pointers.set(event.pointerId, control);
  control.classList.add("held");
  if (control.matches(".pad")) {
    driving.places.set(control, control.getBoundingClientRect());
    driving.move(control, event);
  }
  if (!control.dataset.axis) control.setPointerCapture(event.pointerId); // sliders have their own
};

driving.lift = (pointer) => {
  const control = driving.pointers.get(pointer);
  driving.pointers.delete(pointer);
  if (!control || [...driving.pointers.values()].includes(control)) return;
  control.classList.remove("held");
  driving.keys.delete(control);
  driving.places.delete(control);
  const axes = control.matches(".pad") ? [0, 1] : [control.dataset.axis];
  for (const axis of axes) delete driving.axes[axis];
  if (control.dataset.axis) control.value = 0;
  const knob = control.querySelector(".knob");
  if (knob) knob.style.transform = "";
};

// By where the pad was when it was pressed: a page that shifts or scrolls is no hand that moves.
driving.move = (pad, event) => {
  const box = driving.places.get(pad), clip = (value) => Math.max(-1, Math.min(1, value));
  const x = clip((2 * (event.clientX - box.left)) / box.width - 1);
  const y = clip((2 * (event.clientY - box.top)) / box.height - 1);
  driving.axes[0] = x;
  driving.axes[1] = -y;
  pad.querySelector(".knob").style.transform = `translate(${x * 70}px, ${y * 70}px)`;
};

driving.known = (event) => {
  const name = event.key.toLowerCase().replace("arrow", "");
  return JSON.parse(driving.box().dataset.keys).includes(name) ? name : null;
};

document.addEventListener("pointerdown", (event) => {
  const control = event.target.closest?.(".pad, [data-axis], [data-key]");
  if (!control || event.button !== 0) return;
  driving.press(control, event);
  if (control.dataset.key) driving.keys.set(control, control.dataset.key);
});
document.addEventListener("pointermove", (event) => {
  if (driving.turn) driving.turn.seenAt = performance.now();
  const control = driving.pointers.get(event.pointerId);
  if (control?.matches(".pad")) driving.move(control, event);
});
document.addEventListener("input", (event) => {
  const { axis } = event.target.dataset ?? {};
  if (axis === undefined) return;
  if ([...driving.pointers.values()].includes(event.target)) driving.axes[axis] = Number(event.target.value);
  else event.target.value = 0; // by a wheel or a key: nobody holds it
});
document.addEventListener("contextmenu", (event) => {
  if (event.target.closest?.(".pad, [data-axis], [data-key]")) event.preventDefault();
  else driving.halt("A menu is open"); // it swallows the end of a key
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  document.addEventListener(name, (event) => driving.pointers.has(event.pointerId) && driving.lift(event.pointerId));
}
// By the physical key: what it is called changes when Shift goes down in between. A key of the
// system may swallow the end of any other.
document.addEventListener("keydown", (event) => {
  if (!driving.turn && !driving.asking) return;
  if (event.key === "Escape") return driving.end();
  if (event.ctrlKey || event.metaKey || event.altKey) return driving.keys.size && driving.halt(`${event.key} is down`);
  if (event.target.matches("input:not([type=range]), textarea")) return;
  const name = driving.known(event);
  if (name === null) return;
  event.preventDefault();
  if (!event.repeat) driving.keys.set(event.code, name);
});
document.addEventListener("keyup", (event) => driving.keys.delete(event.code));
window.addEventListener("blur", () => driving.halt("This window has lost the focus"));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) driving.halt("This page was hidden");
});
// Not handed back: nobody has said that the policy may drive.
window.addEventListener("pagehide", () => {
  driving.letGo();
  if (!driving.turn) return;
  driving.tell();
  driving.drop().socket.close();
});
