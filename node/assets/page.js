// What a page can do with JavaScript: ids made on the device, an outbox, receipts that open by their address.
// Everything here replaces the content of <main> by what the server made, so each page exists once.
"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const main = $("main");
  const kiosk = location.href;
  const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const sha256 = async (...parts) => {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { bytes.set(part, at); at += part.length; }
    return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  };
  const ascii = (text) => new TextEncoder().encode(text);

  // Shows what is only for browsers with scripts, and hides what is for others.
  const dress = () => {
    for (const one of main.querySelectorAll("[data-script]")) one.hidden = false;
    for (const one of main.querySelectorAll("[data-plain]")) one.hidden = true;
    const code = $("[data-link]");
    // The address that the guest keeps: the part behind the # never leaves the browser.
    if (code && !("kiosk" in main.dataset)) history.replaceState(null, "", code.dataset.link);
    const swapped = "form[action^='/c/'], form[action^='/r/']";
    for (const form of main.querySelectorAll(swapped)) form.addEventListener("submit", submit);
    const print = $("[data-print]", main);
    if (print) { print.hidden = false; print.addEventListener("click", () => window.print()); }
    // A tablet at the door: back to the empty form.
    if ("kiosk" in main.dataset && code) setTimeout(() => location.replace(kiosk), 20000);
    for (const link of document.querySelectorAll("nav a[hreflang]")) {
      const here = new URL(location.href);
      here.searchParams.set("lang", link.hreflang);
      link.href = here.href;
    }
    const form = $("form.check-in");
    if (form) {
      remembered(form);
      refused(form).catch(() => {});
    }
  };

  const show = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = $("main", page);
    if (!fresh) return;
    document.title = page.title;
    main.replaceChildren(...fresh.childNodes);
    dress();
    const first = $("#errors, .summary", main) || $("h1", main);
    if (first) { first.tabIndex = -1; first.focus(); }
    window.scrollTo(0, 0);
  };

  // A visit id (UUIDv8): 48 bits of time, then 74 bits of a hash of time and secret.
  const identity = async () => {
    const ms = BigInt(Date.now());
    const secret = crypto.getRandomValues(new Uint8Array(16));
    const time = new Uint8Array(8);
    new DataView(time.buffer).setBigUint64(0, ms);
    const hash = await sha256(ascii("meridian visit"), time, secret);
    const proof = hash.slice(0, 16).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const id = (ms << 80n) | (8n << 76n) | ((proof >> 116n) << 64n) | (2n << 62n) | ((proof >> 54n) & ((1n << 62n) - 1n));
    const hex = id.toString(16).padStart(32, "0");
    return { visit: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"), secret: encode(secret) };
  };

  // The code that the receipt will show.
  const code = async (visit) => {
    const id = Uint8Array.from(visit.replaceAll("-", "").match(/../g), (pair) => parseInt(pair, 16));
    const hash = await sha256(ascii("meridian receipt"), id);
    const number = String((hash[1] * 256 + hash[2]) % 10000).padStart(4, "0");
    return `${$("#colours").textContent.trim().split(/\s+/)[hash[0] % 8]} ${number.slice(0, 2)} ${number.slice(2)}`;
  };

  const wait = async (entry) => {
    const page = $("#waiting").content.cloneNode(true);
    const failed = $("#failed");
    const colours = $("#colours");
    $("[data-code]", page).textContent = await code(entry.visit);
    $("[data-time]", page).textContent = new Date(entry.at).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
    main.replaceChildren(page, failed, colours);
    main.dataset.waiting = entry.visit;
    $("h1", main).tabIndex = -1;
    $("h1", main).focus();
  };

  const told = (entry, answer) => {
    if (main.dataset.waiting !== entry.visit) return;
    delete main.dataset.waiting;
    show(answer.html);
    outbox.remove(entry.visit).catch(() => {});
  };

  const FIELDS = /^(name|phone|email|street|postal_code|city|country)-/;
  const KEY = "meridian-details";

  // Details are kept on the device only if the guest asks for it.
  const remembered = (form) => {
    const box = $("#remember", form);
    if (!box) return;
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(KEY)); } catch { box.parentElement.hidden = true; }
    box.checked = kept !== null;
    if (kept && !main.querySelector(".wrong")) fill(form, Object.entries(kept));
    box.addEventListener("change", () => { if (!box.checked) localStorage.removeItem(KEY); });
  };
  const remember = (form) => {
    if (!$("#remember", form)?.checked) return;
    const kept = [...new FormData(form)].filter(([name, value]) => FIELDS.test(name) && value);
    try { localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(kept))); } catch { /* The device keeps nothing. */ }
  };

  // Fills empty fields, and opens the persons that they belong to.
  const fill = (form, entries) => {
    for (const [name, value] of entries) {
      const field = form.elements[name];
      if (!field || field.value || !value) continue;
      field.value = value;
      for (let at = field.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    }
  };

  // A check-in that was kept here and refused later: the guest is told, and finds everything that was typed.
  const refused = async (form) => {
    const path = (address) => address.split("?")[0];
    const entry = (await outbox.all()).find((one) => one.refused && path(one.action) === path(form.getAttribute("action")));
    if (!entry) return;
    const typed = [...new URLSearchParams(entry.body)];
    fill(form, typed.filter(([name]) => FIELDS.test(name) || name === "area"));
    main.prepend($("#failed").content.cloneNode(true));
    $(".summary", main).focus();
    await outbox.remove(entry.visit);
  };

  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const button = $("button", form);
    button.disabled = true;
    const entry = { action: form.getAttribute("action"), at: Date.now() };
    const fields = new URLSearchParams(new FormData(form));
    const isCheckIn = form.matches(".check-in");
    if (isCheckIn) {
      remember(form);
      // The device's own id; without WebCrypto (a plain address) the one that the server made.
      if (crypto.subtle && !form.dataset.identity) {
        const own = await identity();
        form.elements.visit.value = own.visit;
        form.elements.secret.value = own.secret;
        form.dataset.identity = "own";
      }
      fields.set("visit", form.elements.visit.value);
      fields.set("secret", form.elements.secret.value);
      entry.visit = form.elements.visit.value;
    }
    entry.body = fields.toString();
    // Kept first: if the tab is closed in the middle, the check-in is sent later. A browser may refuse to keep anything.
    const kept = isCheckIn && await outbox.put(entry).then(() => true, () => false);
    const answer = await outbox.send(entry);
    if (answer) {
      if (kept) await outbox.remove(entry.visit);
      show(answer.html);
    } else if (kept && crypto.subtle) {
      await wait(entry);
      later();
    } else {
      button.disabled = false;
      form.removeEventListener("submit", submit);
      form.requestSubmit();
    }
  };

  // Sends what waits: now, when the network is back, and every ten seconds while something waits.
  let timer = 0;
  const later = async () => {
    clearTimeout(timer);
    const empty = await outbox.flush(told).catch(() => true);
    if (empty) return;
    timer = setTimeout(later, 10000);
    const worker = await navigator.serviceWorker?.ready.catch(() => null);
    worker?.sync?.register("outbox").catch(() => {});
  };
  if (typeof outbox !== "undefined") window.addEventListener("online", later);

  const locked = $("form.locked");
  if (locked && location.hash.length > 1) {
    locked.hidden = true;
    outbox.send({
      action: locked.getAttribute("action"),
      body: new URLSearchParams({ secret: location.hash.slice(1), do: "show" }).toString(),
    }).then((answer) => {
      if (answer) show(answer.html);
      else locked.hidden = false;
    });
  }
  // The console's address with the key behind the #, as an operator hands it over.
  const door = $("form[action='/console/login']");
  const handed = location.hash.slice(1).split(".");
  if (door && handed.length === 2 && !$("#errors")) {
    [door.elements.venue.value, door.elements.key.value] = handed;
    history.replaceState(null, "", location.pathname + location.search);
    door.submit();
  }
  dress();
  if (typeof outbox === "undefined") return;
  later();
  navigator.serviceWorker?.register("/worker.js").then((worker) => {
    // This page was loaded before the worker ran: it is kept for the next visit without a network.
    if ($("form.check-in")) (worker.active || worker.waiting || worker.installing)?.postMessage(location.href);
  }).catch(() => {});
})();
