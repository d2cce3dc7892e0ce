// The service worker: keeps the check-in page and its assets for guests without a network, and sends the outbox when
// the browser says that there is one again. It keeps no receipt and nothing that a guest typed.
"use strict";
importScripts("OUTBOX");
const FILES = "ASSETS".split(" ");
const NAME = "meridian-" + FILES.join();

const keep = async (request) => {
  const answer = await fetch(request, { credentials: "omit" });
  if (answer.ok) (await caches.open(NAME)).put(request, answer.clone());
  return answer;
};

self.addEventListener("install", (event) => {
  // A node of another version gives its own file under this name, for once: that is not kept.
  const add = async (cache, file) => {
    const answer = await fetch(file);
    if (!answer.ok || !answer.headers.get("Cache-Control").includes("immutable")) throw new Error("another version");
    await cache.put(file, answer);
  };
  const all = (cache) => Promise.all(FILES.map((file) => add(cache, file)));
  event.waitUntil(caches.open(NAME).then(all).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = async () => {
    for (const name of await caches.keys()) if (name !== NAME) await caches.delete(name);
    await self.clients.claim();
  };
  event.waitUntil(old());
});

self.addEventListener("message", (event) => event.waitUntil(keep(event.data).catch(() => {})));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = new URL(request.url).pathname;
  if (request.method !== "GET") return;
  if (path.startsWith("/assets/")) {
    event.respondWith(caches.match(request).then((kept) => kept || fetch(request)));
  } else if (request.mode === "navigate" && path.startsWith("/c/") && !new URL(request.url).searchParams.has("kiosk")) {
    const kept = async () => (await caches.match(request)) || (await caches.match(path)) || Response.error();
    event.respondWith(keep(request).then((answer) => (answer.status >= 500 ? kept().then((page) => (page.type === "error" ? answer : page)) : answer)).catch(kept));
  }
});

self.addEventListener("sync", (event) => {
  if (event.tag === "outbox") {
    event.waitUntil(outbox.flush().then((waits) => { if (waits) throw new Error("not sent yet"); }));
  }
});
