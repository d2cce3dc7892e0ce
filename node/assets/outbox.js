// The outbox of a device: check-ins in IndexedDB. An entry is the form as it is sent, with the id that the device made, so
// that sending it twice is one visit.
//
// waiting   no region has answered yet; it is sent again and again
// sent      a region has stored it; the entry keeps the secret until the guest has seen the receipt
// refused   a region does not accept it; the entry keeps what was typed until the guest has seen that
"use strict";
const outbox = (() => {
  const DAY = 24 * 3600 * 1000;
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
  const remove = (visit) => run("readwrite", (store) => store.delete(visit));
  const all = async () => (await run("readonly", (store) => store.getAll())).sort((a, b) => a.at - b.at);
  const find = async (visit) => (await all()).find((entry) => entry.visit === visit);

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
      return page && answer.status < 500 && answer.status !== 429 ? { page, html: await answer.text(), status: answer.status } : null;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  };

  // Sends what waits. Returns whether something still waits.
  const flush = async (told) => {
    let waits = false;
    for (const entry of await all()) {
      // After a day a check-in is not accepted any more, and nobody will look for its receipt here.
      if (entry.at < Date.now() - 2 * DAY) await remove(entry.visit);
      if (entry.state !== "waiting") continue;
      const answer = await send(entry);
      if (!answer) { waits = true; continue; }
      const secret = new URLSearchParams(entry.body).get("secret");
      const isDeparture = entry.action.startsWith("/r/");
      // A region may not have heard of the visit yet.
      if (isDeparture && answer.status === 404) { waits = true; continue; }
      if (isDeparture) await remove(entry.visit);
      else if (answer.page !== "receipt") await change(entry.visit, { ...entry, state: "refused" });
      else if (entry.kiosk) await remove(entry.visit);
      else await change(entry.visit, { visit: entry.visit, action: entry.action, at: entry.at, state: "sent", secret });
      if (told) await told(entry, answer);
    }
    return waits;
  };
  return { put, remove, all, find, send, flush };
})();
