// The outbox of a device: check-ins in IndexedDB. An entry is the form as it is sent, with the id that the device made, so
// that sending it twice is one visit.
//
// waiting   no region has answered yet; it is sent again and again
// sent      a region has stored it; the entry keeps the secret until the guest has seen the receipt
// refused   a region does not accept it; the entry keeps what was typed until the guest has seen that
//
// The id carries the time of the arrival by this device's clock. If a region refuses it for that and the clock is wrong, the
// check-in gets an id with the right time, once: `corrected`, and `was` is the id before.
"use strict";
const outbox = (() => {
  const DAY = 24 * 3600 * 1000;
  // A clock that is wrong by less is not why a time was refused.
  const WRONG = 60 * 1000;
  const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const sha256 = async (...parts) => {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { bytes.set(part, at); at += part.length; }
    return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  };
  const ascii = (text) => new TextEncoder().encode(text);

  // A visit id (UUIDv8): 48 bits of time, then 74 bits of a hash of time and secret.
  const identity = async (at) => {
    const ms = BigInt(at);
    const secret = crypto.getRandomValues(new Uint8Array(16));
    const time = new Uint8Array(8);
    new DataView(time.buffer).setBigUint64(0, ms);
    const hash = await sha256(ascii("meridian visit"), time, secret);
    const proof = hash.slice(0, 16).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const id = (ms << 80n) | (8n << 76n) | ((proof >> 116n) << 64n) | (2n << 62n) | ((proof >> 54n) & ((1n << 62n) - 1n));
    const hex = id.toString(16).padStart(32, "0");
    return { visit: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"), secret: encode(secret) };
  };

  const open = () => new Promise((resolve, reject) => {
    const request = indexedDB.open("meridian", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("outbox", { keyPath: "visit" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const run = async (mode, act) => {
    const database = await open();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = database.transaction("outbox", mode);
        const request = act(transaction.objectStore("outbox"));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = transaction.onerror = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  };
  const put = (entry) => run("readwrite", (store) => store.put(entry));
  // Changes an entry, unless another tab or the worker has removed it meanwhile.
  const change = (visit, entry) => run("readwrite", (store) => {
    const found = store.get(visit);
    found.onsuccess = () => { if (found.result) store.put(entry); };
    return found;
  });
  // Puts an entry in the place of another one, unless another tab or the worker has done so already.
  const replace = (was, entry) => run("readwrite", (store) => {
    const found = store.get(was);
    found.onsuccess = () => { if (found.result) { store.put(entry); store.delete(was); } };
    return found;
  });
  const remove = (visit) => run("readwrite", (store) => store.delete(visit));
  const all = async () => (await run("readonly", (store) => store.getAll())).sort((a, b) => a.at - b.at);
  const find = async (visit) => (await all()).find((entry) => entry.visit === visit || entry.was === visit);

  // Sends a form. Nothing comes back if there is no answer, if it says "later", or if it is not a page of this service:
  // a hotspot that wants a login answers too.
  const send = async ({ action, body, at }) => {
    // A departure says how long it waited.
    if (at && action.startsWith("/r/")) body += `&waited=${Math.max(0, Date.now() - at)}`;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 8000);
    try {
      const answer = await fetch(action, {
        method: "POST", body, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", signal: stop.signal,
        headers: { "Content-Type": "application/x-www-form-urlencoded" },
      });
      const page = answer.headers.get("Meridian-Page");
      const now = Date.parse(answer.headers.get("Meridian-Now") ?? "");
      return page && answer.status < 500 && answer.status !== 429 ? { page, html: await answer.text(), status: answer.status, now } : null;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  };

  // Sends an entry. If its time is refused and this device's clock is wrong, the entry gets the right time and is sent again.
  const deliver = async (entry) => {
    const answer = await send(entry);
    const ahead = Date.now() - answer?.now;
    if (entry.corrected || !entry.visit || !crypto.subtle || !(Math.abs(ahead) > WRONG)) return answer;
    const { visit, secret } = await identity(entry.at - ahead);
    const form = new URLSearchParams(entry.body);
    form.set("visit", visit);
    form.set("secret", secret);
    const was = entry.visit;
    const right = { ...entry, visit, was, body: form.toString(), corrected: true };
    // One that is kept is corrected once on this device, otherwise two tabs would make two visits of it.
    const kept = await find(was).catch(() => null);
    if (kept && !await replace(was, right).catch(() => null)) return null;
    Object.assign(entry, right);
    return send(entry);
  };

  // Sends what waits. Returns whether something still waits.
  const flush = async (told) => {
    let waits = false;
    for (const entry of await all()) {
      // After a day a check-in is not accepted any more, and nobody will look for its receipt here.
      if (entry.at < Date.now() - 2 * DAY) await remove(entry.visit);
      if (entry.state !== "waiting") continue;
      const answer = await deliver(entry);
      if (!answer) { waits = true; continue; }
      const secret = new URLSearchParams(entry.body).get("secret");
      const isDeparture = entry.action.startsWith("/r/");
      // A region may not have heard of the visit yet.
      if (isDeparture && answer.status === 404) { waits = true; continue; }
      if (isDeparture) await remove(entry.visit);
      else if (answer.page !== "receipt") await change(entry.visit, { ...entry, state: "refused" });
      else if (entry.kiosk) await remove(entry.visit);
      else await change(entry.visit, { visit: entry.visit, was: entry.was, action: entry.action, at: entry.at, state: "sent", secret });
      if (told) await told(entry, answer);
    }
    return waits;
  };
  return { put, remove, all, find, send, deliver, flush, identity, sha256 };
})();
