// What a page can do with JavaScript: ids made on the device, an outbox, receipts that open by their address.
// Everything here replaces the content of <main> by what the server made, so each page exists once.
"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const main = $("main");
  const isKiosk = "kiosk" in main.dataset;
  const start = location.href;
  const clock = (at) => new Date(at).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

  // Shows what is only for browsers with scripts, and hides what is for others.
  const dress = () => {
    for (const one of main.querySelectorAll("[data-script]")) one.hidden = false;
    for (const one of main.querySelectorAll("[data-plain]")) one.hidden = true;
    // The address that the guest keeps: the part behind the # never leaves the browser.
    const code = $("[data-link]");
    if (code) history.replaceState(null, "", code.dataset.link);
    for (const form of main.querySelectorAll("form[action^='/c/'], form[action^='/r/']")) form.addEventListener("submit", submit);
    const print = $("[data-print]", main);
    if (print) { print.hidden = false; print.addEventListener("click", () => window.print()); }
    const form = $("form.check-in");
    if (form && !isKiosk) {
      remembered(form);
      notices(form).catch(() => {});
    }
  };

  const focus = (element) => {
    if (!element) return;
    element.tabIndex = -1;
    element.focus();
    window.scrollTo(0, 0);
  };
  const show = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    document.title = page.title;
    main.replaceChildren(...$("main", page).childNodes);
    dress();
    focus($("#errors, .summary", main) || $("h1", main));
  };

  // The code that the receipt will show.
  const code = async (visit) => {
    const id = Uint8Array.from(visit.replaceAll("-", "").match(/../g), (pair) => parseInt(pair, 16));
    const hash = await outbox.sha256(new TextEncoder().encode("meridian receipt"), id);
    const number = String((hash[1] * 256 + hash[2]) % 10000).padStart(4, "0");
    return `${$("#colours").textContent.trim().split(/\s+/)[hash[0] % 8]} ${number.slice(0, 2)} ${number.slice(2)}`;
  };

  const receipt = (entry) => entry.action.startsWith("/r/") ? entry.action : `/r/${entry.visit}?v=${entry.action.split("/")[2].split("?")[0]}`;
  // Shows an answer about a check-in that the device keeps. The device forgets it first: the answer is in hand, and what a
  // page does after it is shown ends when the guest follows a link.
  const showLast = async (visit, answer) => {
    await outbox.remove(visit).catch(() => {});
    show(answer.html);
  };
  const openReceipt = async ({ visit, action, secret }) => {
    const body = new URLSearchParams({ secret, do: "show" }).toString();
    const answer = await outbox.send({ action, body });
    // A region that has not heard of the visit yet says 404, and a wrong secret is no reason to forget it either.
    const isSeen = answer && (answer.status < 300 || answer.status === 410);
    if (isSeen) await showLast(visit, answer);
    return { answer, isSeen };
  };

  // The check-in or departure that this tab shows as not sent yet.
  let waiting = null;
  // A departure without a network is kept with its time; its entry is of the form's address and not of a check-in.
  const leaveLater = async (form, entry) => {
    const words = $("#leaving");
    if (!words || form.elements.do?.value !== "leave") return false;
    const own = { ...entry, visit: `${entry.action} ${form.elements.person?.value ?? ""}` };
    if (!await outbox.put(own).then(() => true, () => false)) return false;
    waiting = { ...own, secret: form.elements.secret.value };
    const page = words.content.cloneNode(true);
    $("[data-time]", page).textContent = clock(entry.at);
    $("[data-offline]")?.remove();
    main.prepend(page);
    focus($("[data-offline]", main));
    return true;
  };
  const wait = async (entry) => {
    waiting = { ...entry, secret: new URLSearchParams(entry.body).get("secret") };
    const page = $("#waiting").content.cloneNode(true);
    $("[data-code]", page).textContent = await code(entry.visit);
    $("[data-time]", page).textContent = clock(entry.at);
    main.replaceChildren(page, $("#colours"));
    focus($("h1", main));
  };
  const told = async (entry, answer) => {
    if (!waiting || ![entry.visit, entry.was].includes(waiting.visit)) return;
    waiting = null;
    await showLast(entry.visit, answer);
  };

  const FIELDS = /^(name|phone|email|street|postal_code|city|country)-/;
  const KEY = "meridian-details";
  const TYPED = "meridian-typed";

  // Fills empty fields, and opens the persons that they belong to.
  const fill = (form, entries) => {
    for (const [name, value] of entries) {
      const field = form.elements[name];
      if (!field || field.value || !value) continue;
      field.value = value;
      for (let at = field.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    }
  };

  // Details are kept on the device only if the guest asks for it.
  const remembered = (form) => {
    const box = $("#remember", form);
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

  // What became of check-ins of this device at this venue: still waiting, stored meanwhile, or refused.
  const notices = async (form) => {
    const venue = (address) => address.split("?")[0].split("/")[2];
    for (const entry of await outbox.all()) {
      if (venue(entry.action) !== venue(form.getAttribute("action")) || $(`[data-entry="${entry.visit}"]`)) continue;
      const notice = $(`#notice-${entry.state}`).content.cloneNode(true);
      notice.firstElementChild.dataset.entry = entry.visit;
      $("[data-time]", notice).textContent = clock(entry.at);
      const link = $("a", notice);
      if (link) link.href = `${receipt(entry)}#${entry.secret}`;
      main.prepend(notice);
      if (entry.state !== "refused") continue;
      fill(form, [...new URLSearchParams(entry.body)].filter(([name]) => FIELDS.test(name) || name === "area"));
      focus($(".summary", main));
      await outbox.remove(entry.visit);
    }
  };

  // Whether the form has what the venue asks for, as far as a browser without a network can tell.
  const isComplete = (form) => {
    const given = (name) => form.elements[`${name}-1`]?.value.trim();
    const { required, oneOf } = form.dataset;
    return required.split(" ").every(given) && (!oneOf || oneOf.split("|").some((group) => group.split(" ").every(given)));
  };

  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const button = $("button", form);
    button.disabled = true;
    const entry = { action: form.getAttribute("action"), at: Date.now(), state: "waiting", kiosk: isKiosk };
    const isCheckIn = form.matches(".check-in");
    if (isCheckIn) {
      remember(form);
      // The device's own id; without WebCrypto (a plain address) the one that the server made.
      if (crypto.subtle && !form.dataset.identity) {
        const own = await outbox.identity(Date.now());
        form.elements.visit.value = own.visit;
        form.elements.secret.value = own.secret;
        form.dataset.identity = "own";
      }
      entry.visit = form.elements.visit.value;
    }
    entry.body = new URLSearchParams(new FormData(form)).toString();
    // Kept first: if the tab is closed in the middle, the check-in is sent later. A browser may refuse to keep anything.
    const complete = isCheckIn && isComplete(form);
    const kept = complete && crypto.subtle && await outbox.put(entry).then(() => true, () => false);
    const answer = await outbox.deliver(entry);
    if (isCheckIn && entry.corrected) {
      form.elements.visit.value = entry.visit;
      form.elements.secret.value = new URLSearchParams(entry.body).get("secret");
    }
    if (answer) {
      // What waits for its turn does not replace what is shown now.
      waiting = null;
      try { sessionStorage.removeItem(TYPED); } catch { /* The browser keeps nothing. */ }
      if (kept) await outbox.remove(entry.visit);
      if (answer.page === "erased") for (const one of await outbox.all().catch(() => [])) if (one.action === entry.action) await outbox.remove(one.visit);
      show(answer.html);
    } else if (kept) {
      await wait(entry);
      later();
    } else if (await leaveLater(form, entry)) {
      later();
    } else {
      button.disabled = false;
      $(".summary[data-offline]")?.remove();
      const words = $(isCheckIn && !complete ? "#incomplete" : "#offline") || $("#offline");
      if (words) { main.prepend(words.content.cloneNode(true)); focus($(".summary", main)); }
      else { form.removeEventListener("submit", submit); form.requestSubmit(); }
    }
  };

  // Sends what waits: now, when the network is back, and again and again while something waits, each device at a time of
  // its own.
  let timer = 0;
  let pause = 5000;
  const later = async () => {
    clearTimeout(timer);
    const waits = await outbox.flush(told).catch(() => false);
    if (waiting) {
      // Another tab or the worker may have sent it.
      const entry = await outbox.find(waiting.visit).catch(() => null);
      // It was sent under another id, because this device's clock is wrong.
      if (entry?.was === waiting.visit) waiting = { ...waiting, visit: entry.visit, secret: entry.secret ?? new URLSearchParams(entry.body).get("secret") };
      // The form tells what was refused.
      if (entry?.state === "refused") { location.replace(entry.action); return; }
      if (entry?.state !== "waiting" && (await openReceipt({ ...waiting, action: receipt(waiting) })).isSeen) waiting = null;
    }
    if (!waits && !waiting) { pause = 5000; return; }
    timer = setTimeout(later, pause * (0.5 + Math.random()));
    pause = Math.min(pause * 1.5, 60000);
    const worker = await navigator.serviceWorker?.ready.catch(() => null);
    worker?.sync?.register("outbox").catch(() => {});
  };

  // A tablet at the door goes back to the empty form, whatever it shows and whatever was typed.
  if (isKiosk) {
    let idle = 0;
    const wipe = () => { clearTimeout(idle); idle = setTimeout(() => location.replace(start), 20000); };
    const touched = () => { if (!$("form.check-in") || $(".wrong") || [...$("form.check-in").elements].some((one) => FIELDS.test(one.name) && one.value)) wipe(); };
    for (const name of ["input", "pointerdown", "keydown"]) document.addEventListener(name, touched);
    new MutationObserver(touched).observe(main, { childList: true });
  }

  // The console's address with the key behind the #, as an operator hands it over: the owner presses the button.
  const door = $("form[action^='/console/login']");
  const handed = location.hash.slice(1).split(".");
  if (door && handed.length === 2) {
    [door.elements.venue.value, door.elements.key.value] = handed;
    history.replaceState(null, "", location.pathname + location.search);
    $("button", door).focus();
  }
  // Another language keeps what was typed, in this tab and until it is shown again; never on a tablet for all.
  for (const link of document.querySelectorAll("nav a[hreflang]")) link.addEventListener("click", () => {
    link.hash = location.hash;
    const form = !isKiosk && $("form.check-in");
    const typed = form && [...new FormData(form)].filter(([name, value]) => value && (FIELDS.test(name) || name === "area"));
    try { if (typed) sessionStorage.setItem(TYPED, JSON.stringify(typed)); } catch { /* The browser keeps nothing. */ }
  });
  try {
    const typed = JSON.parse(sessionStorage.getItem(TYPED));
    sessionStorage.removeItem(TYPED);
    if (typed && !isKiosk && $("form.check-in")) fill($("form.check-in"), typed);
  } catch { /* There is nothing to show. */ }
  dress();
  if (typeof outbox === "undefined") return;

  const locked = $("form.locked");
  if (locked && location.hash.length > 1) {
    $("#opening").hidden = false;
    locked.hidden = true;
    const action = locked.getAttribute("action");
    const visit = action.split("?")[0].split("/")[2];
    openReceipt({ visit, action, secret: location.hash.slice(1) }).then(({ answer, isSeen }) => {
      if (isSeen) return;
      if (answer) { show(answer.html); return; }
      locked.hidden = false;
      $("#opening").hidden = true;
    });
  }
  window.addEventListener("online", () => { pause = 5000; later(); });
  later();
  navigator.serviceWorker?.register("/worker.js").then((worker) => {
    // This page was loaded before the worker ran: it is kept for the next visit without a network.
    if ($("form.check-in") && !isKiosk) (worker.active || worker.waiting || worker.installing)?.postMessage(start);
  }).catch(() => {});
})();
