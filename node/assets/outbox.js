// The outbox of a device: check-ins that could not be sent, kept in IndexedDB until a region has answered.
// Each entry is the form as it is sent, with the id that the device made, so that sending it twice is one visit.
"use strict";
const outbox = (() => {
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
  const remove = (visit) => run("readwrite", (store) => store.delete(visit));
  const all = () => run("readonly", (store) => store.getAll());

  // Whether an answer means that the check-in has to be sent again.
  const again = (status) => status >= 500 || status === 429 || status === 408;

  // Sends a form. Without an answer, or with one that says "later", there is no page.
  const send = async (entry) => {
    let answer;
    try {
      answer = await fetch(entry.action, {
        method: "POST", body: entry.body, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
        headers: { "Content-Type": "application/x-www-form-urlencoded" }, signal: AbortSignal.timeout(20000),
      });
      if (again(answer.status)) return null;
      return { status: answer.status, html: await answer.text() };
    } catch {
      return null;
    }
  };

  // Sends what waits, oldest first. A check-in leaves the outbox once a region has stored it. One that a region refuses
  // stays, marked as refused, until the guest has seen it.
  const flush = async (told) => {
    for (const entry of (await all()).filter((one) => !one.refused).sort((a, b) => a.at - b.at)) {
      const answer = await send(entry);
      if (!answer) return false;
      if (answer.status < 400 || answer.status === 410) await remove(entry.visit);
      else await put({ ...entry, refused: true });
      if (told) told(entry, answer);
    }
    return true;
  };
  return { put, remove, all, send, flush };
})();
