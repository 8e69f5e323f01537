// Driving a robot: what hands do on this page goes to REST's socket, 20 times per second.
//
// A dead man's switch: an action is sent only while a finger is on a control, a key is down, or a
// gamepad's stick is out of its middle; else the robot is asked to hold. A page that nobody has
// touched for a while, that is hidden, or that is gone says nothing, and the robot draws its own
// conclusions by its own clock.
const driving = {
  secret: null, holder: null, socket: null, timer: null, engaged: false,
  axes: {}, keys: new Set(), fingers: 0, touchedAt: 0, begunAt: 0,
};
const RATE_MS = 50, ASLEEP_MS = 20000, DEADBAND = 0.15, PATIENCE_MS = 2000;
const base = () => document.querySelector("[data-drive]")?.dataset.drive;

driving.say = (text) => {
  const place = document.getElementById("drive-said");
  if (place) place.textContent = text;
};

driving.begin = async () => {
  if (driving.socket) return;
  const answer = await fetch(`${base()}/teleop`, { method: "PUT" });
  const lease = await answer.json();
  if (!answer.ok) return driving.say(lease.detail);
  const url = new URL(`${base()}/teleop/input`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  const now = performance.now();
  Object.assign(driving, { secret: lease.secret, holder: lease.holder, socket, engaged: true,
                           touchedAt: now, begunAt: now });
  socket.onopen = () => { driving.timer = setInterval(driving.send, RATE_MS); };
  socket.onmessage = (event) => driving.heard(JSON.parse(event.data));
  socket.onclose = (event) => {
    clearInterval(driving.timer);
    if (driving.socket === socket) Object.assign(driving, { socket: null, engaged: false });
    driving.say(event.reason || "you do not drive");
  };
};

// Hand back: say so on the socket first, which is quicker than giving the lease back.
driving.end = async (why = "handed back") => {
  const { socket, secret } = driving;
  if (!socket) return;
  driving.engaged = false;
  if (socket.readyState === WebSocket.OPEN) driving.send();
  Object.assign(driving, { socket: null, secret: null });
  clearInterval(driving.timer);
  await fetch(`${base()}/teleop?secret=${encodeURIComponent(secret)}`, { method: "DELETE", keepalive: true });
  socket.close();
  driving.say(why);
};

// The gamepad's sticks, those of them that are out of their middle.
driving.sticks = () => {
  const pad = [...(navigator.getGamepads?.() ?? [])].find(Boolean);
  return Object.fromEntries((pad?.axes ?? []).map((value, index) => [index, index % 2 ? -value : value])
    .filter(([, value]) => Math.abs(value) > DEADBAND));
};

driving.send = () => {
  const sticks = driving.sticks(), now = performance.now();
  const touched = driving.fingers > 0 || driving.keys.size > 0 || Object.keys(sticks).length > 0;
  if (touched) driving.touchedAt = now;
  if (driving.engaged && (document.hidden || now - driving.touchedAt > ASLEEP_MS)) return;
  const axes = { ...driving.axes, ...sticks }, size = Math.max(-1, ...Object.keys(axes).map(Number)) + 1;
  driving.socket.send(JSON.stringify({
    secret: driving.secret, sent: now / 1000, engaged: driving.engaged, wish: touched ? "act" : "hold",
    axes: Array.from({ length: size }, (_, number) => axes[number] ?? 0), keys: [...driving.keys],
  }));
};

// The robot has the last word on who drives.
driving.heard = (answer) => {
  const mine = answer.driver === driving.holder;
  if (mine) driving.begunAt = performance.now();
  if (driving.engaged && performance.now() - driving.begunAt > PATIENCE_MS) {
    return driving.end(`the take-over is over: ${answer.reason || answer.safety || "out of reach"}`);
  }
  if (driving.engaged) driving.say(mine ? `you drive: ${JSON.stringify(answer.action)}` : "taking over");
};

driving.letGo = () => {
  driving.keys.clear();
  driving.fingers = 0;
  driving.axes = {};
  for (const slider of document.querySelectorAll("[data-axis]")) slider.value = 0;
  for (const knob of document.querySelectorAll(".pad .knob")) knob.style.transform = "";
};

driving.pad = (pad, event) => {
  const box = pad.getBoundingClientRect(), clip = (value) => Math.max(-1, Math.min(1, value));
  const x = clip((2 * (event.clientX - box.left)) / box.width - 1);
  const y = clip((2 * (event.clientY - box.top)) / box.height - 1);
  driving.axes[0] = x;
  driving.axes[1] = -y;
  pad.querySelector(".knob").style.transform = `translate(${x * 50}px, ${y * 50}px)`;
};

document.addEventListener("pointerdown", (event) => {
  const control = event.target.closest(".pad, [data-axis], [data-key]");
  if (!control || !base()) return;
  driving.fingers += 1;
  if (control.matches(".pad")) {
    control.setPointerCapture(event.pointerId);
    driving.pad(control, event);
  }
  if (control.dataset.key) driving.keys.add(control.dataset.key);
});
document.addEventListener("pointermove", (event) => {
  const pad = event.target.closest?.(".pad");
  if (pad && pad.hasPointerCapture(event.pointerId)) driving.pad(pad, event);
});
document.addEventListener("input", (event) => {
  const axis = event.target.dataset?.axis;
  if (axis !== undefined) driving.axes[axis] = Number(event.target.value);
});
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, driving.letGo);
document.addEventListener("keydown", (event) => {
  if (!driving.engaged || event.target.matches("input:not([type=range]), textarea")) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  driving.keys.add(event.key);
  event.preventDefault();
});
document.addEventListener("keyup", (event) => driving.keys.delete(event.key));
window.addEventListener("blur", driving.letGo);
window.addEventListener("pagehide", () => driving.end());
