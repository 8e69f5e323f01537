// What a page does without the server: camera pictures, signing out, and looking through an episode.

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

async function signOut() {
  await fetch("/api/v1/logout", { method: "POST" });
  location.assign("/login.html");
}
