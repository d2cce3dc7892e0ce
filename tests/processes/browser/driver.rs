//! A headless Chromium behind ChromeDriver, for one test.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use crate::common::process::Process;
use crate::common::{net, told_by_no_chance, within};

/// Time limit of everything that a page does.
const SOON: Duration = Duration::from_secs(30);

/// How the reader's browser is set.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) language: &'static str,
    pub(crate) scripts: bool,
    pub(crate) width: u32,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { language: "de", scripts: true, width: 400 }
    }
}

/// A browser with one tab.
pub(crate) struct Browser {
    client: Client,
    runtime: Runtime,
    folder: tempfile::TempDir,
    _driver: Process,
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct ChromiumCommand(&'static str, Value);

impl WebDriverCompatibleCommand for ChromiumCommand {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({"cmd": self.0, "params": self.1}).to_string()))
    }
}

/// The log of everything that the browser sent and got (ChromeDriver's performance log).
#[derive(Debug)]
struct NetworkLog;

impl WebDriverCompatibleCommand for NetworkLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(json!({"type": "performance"}).to_string()))
    }
}

impl Browser {
    /// Starts a browser; `None` where this machine has none, which is said loudly.
    pub(crate) fn start(test: &str, reader: Reader) -> Option<Browser> {
        let Some(driver) = program("chromedriver") else {
            assert!(std::env::var_os("MERIDIAN_BROWSER").is_none(), "MERIDIAN_BROWSER is set, and there is no browser");
            // Not a macro, because the test harness would capture it.
            let words = format!("\nNOT RUN: {test} needs the packages chromium and chromium-driver\n");
            std::io::stderr().write_all(words.as_bytes()).unwrap();
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = net::free_base(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 1);
        let log = folder.path().join("driver.log");
        let mut driver = Process::logged(Command::new(driver).arg(format!("--port={port}")), &log);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let capabilities = capabilities(reader, folder.path());
        let client = within("a browser starts", SOON, || {
            assert!(driver.runs(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
            let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            let builder = builder.capabilities(capabilities.clone());
            runtime.block_on(builder.connect(&format!("http://127.0.0.1:{port}")))
        });
        let browser = Browser { client, runtime, folder, _driver: driver };
        browser.narrow(reader.width);
        Some(browser)
    }

    /// Sends a command of Chromium's own protocol.
    pub(crate) fn command(&self, name: &'static str, parameters: Value) -> Value {
        self.runtime.block_on(self.client.issue_cmd(ChromiumCommand(name, parameters))).unwrap()
    }

    /// Makes the window this wide, in CSS pixels.
    pub(crate) fn narrow(&self, width: u32) {
        let height = if width < 700 { 780 } else { 900 };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", size);
    }

    /// Shows pages as to a reader who prefers this colour scheme.
    pub(crate) fn prefers(&self, scheme: &str) {
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", scheme);
    }

    /// Decodes the QR code of the page at an address, with another program than the one that drew it; `None` where this
    /// machine has no such program.
    pub(crate) fn scan(&self, address: &str) -> Option<String> {
        self.open(address);
        self.picture("poster");
        self.decode()
    }

    /// Decodes the QR code that the page shows.
    pub(crate) fn decode(&self) -> Option<String> {
        let Some(scanner) = program("zbarimg") else {
            assert!(std::env::var_os("MERIDIAN_BROWSER").is_none(), "MERIDIAN_BROWSER is set, and there is no zbarimg");
            std::io::stderr().write_all(b"\nNOT RUN: decoding a poster needs the package zbar-tools\n").unwrap();
            return None;
        };
        let picture = self.command("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        let file = self.folder.path().join("code.png");
        std::fs::write(&file, bytes).unwrap();
        let output = Command::new(scanner).args(["--raw", "--quiet"]).arg(file).output().unwrap();
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    pub(crate) fn open(&self, address: &str) {
        self.runtime.block_on(self.client.goto(address)).unwrap();
    }

    /// The address of the page, the part behind the # included.
    pub(crate) fn address(&self) -> String {
        self.runtime.block_on(self.client.current_url()).unwrap().to_string()
    }

    pub(crate) fn title(&self) -> String {
        self.runtime.block_on(self.client.title()).unwrap()
    }

    /// Waits for an element.
    #[track_caller]
    pub(crate) fn find(&self, css: &str) -> Element {
        within(css, SOON, || self.try_find(css))
    }

    pub(crate) fn try_find(&self, css: &str) -> Result<Element, CmdError> {
        self.runtime.block_on(self.client.find(Locator::Css(css)))
    }

    pub(crate) fn has(&self, css: &str) -> bool {
        self.try_find(css).is_ok()
    }

    #[track_caller]
    pub(crate) fn click(&self, css: &str) {
        within(css, SOON, || self.runtime.block_on(async { self.client.find(Locator::Css(css)).await?.click().await }));
    }

    #[track_caller]
    pub(crate) fn write(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.runtime.block_on(async {
            element.clear().await.unwrap();
            element.send_keys(text).await.unwrap();
        });
    }

    /// What a person reads of an element.
    #[track_caller]
    pub(crate) fn text(&self, css: &str) -> String {
        within(css, SOON, || self.runtime.block_on(async { self.client.find(Locator::Css(css)).await?.text().await }))
    }

    /// Waits until an element's text contains this.
    #[track_caller]
    pub(crate) fn reads(&self, css: &str, wanted: &str) {
        within(wanted, SOON, || {
            match self.runtime.block_on(async { self.client.find(Locator::Css(css)).await?.text().await }) {
                Ok(text) if text.contains(wanted) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// A property of an element, such as what was typed into it.
    #[track_caller]
    pub(crate) fn value(&self, css: &str) -> String {
        let element = self.find(css);
        self.runtime.block_on(element.prop("value")).unwrap().unwrap_or_default()
    }

    /// Runs a script and returns its value.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.runtime.block_on(self.client.execute(script, Vec::new())).unwrap()
    }

    /// A script whose last argument is called with its value.
    pub(crate) fn script_async(&self, script: &str) -> Value {
        self.runtime.block_on(self.client.execute_async(script, Vec::new())).unwrap()
    }

    /// Presses keys, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        // Of the keyboard and not of an element: keys that are sent to a field for a day begin at its first part again.
        let strokes = keys.chars().flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        let keyboard = strokes.fold(KeyActions::new("keyboard".to_owned()), KeyActions::then);
        self.runtime.block_on(self.client.perform_actions(keyboard)).unwrap();
    }

    /// Presses keys at an element, as a person does who has reached it with the Tab key.
    #[track_caller]
    pub(crate) fn press_at(&self, css: &str, keys: &str) {
        let element = self.find(css);
        self.runtime.block_on(element.send_keys(keys)).unwrap();
    }

    /// Writes a picture of the whole page, if `MERIDIAN_PICTURES` names a folder.
    pub(crate) fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("MERIDIAN_PICTURES") else { return };
        let page = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.command("Page.captureScreenshot", page);
        let bytes = data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    /// Checks what left the browser and what stays in it: no address and no header of a request has any of these, no
    /// page may be cached, and none of the browser's own stores has any of them.
    #[track_caller]
    pub(crate) fn kept_private(&self, secrets: &[&str]) {
        secrets.iter().for_each(|secret| told_by_no_chance(secret));
        let forms = secrets.iter().flat_map(|secret| {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            [(*secret).to_owned(), encoded.replace('+', "%20"), encoded]
        });
        let forms: Vec<String> = forms.collect();
        let told = |text: &str| forms.iter().any(|form| text.contains(form));
        let log = self.runtime.block_on(self.client.issue_cmd(NetworkLog)).unwrap();
        let (mut sent, mut pages) = (0, 0);
        for entry in log.as_array().unwrap() {
            let entry: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let (event, of) = (entry["message"]["method"].as_str().unwrap(), &entry["message"]["params"]);
            match event {
                "Network.requestWillBeSent" => {
                    sent += 1;
                    let (address, headers) = (of["request"]["url"].as_str().unwrap(), &of["request"]["headers"]);
                    assert!(!told(address) && !told(&headers.to_string()), "told in a request to {address}");
                    let referrer = headers["Referer"].as_str().unwrap_or_default();
                    assert!(referrer.is_empty() || referrer.contains("/console"), "{referrer}");
                }
                // The headers as they went out, cookies among them.
                "Network.requestWillBeSentExtraInfo" => assert!(!told(&of["headers"].to_string()), "told in a header"),
                "Network.responseReceived" if of["response"]["mimeType"] == "text/html" => {
                    let address = of["response"]["url"].as_str().unwrap();
                    if !address.starts_with("http") {
                        continue;
                    }
                    pages += 1;
                    let headers = of["response"]["headers"].as_object().unwrap();
                    let cached = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
                    assert_eq!(cached.map(|(_, value)| value.as_str().unwrap()), Some("no-store"), "{address}");
                }
                _ => {}
            }
        }
        assert!(sent > 3 && pages > 1, "the log is read: {sent} requests, {pages} pages");
        let kept = self.script_async(
            "const done = arguments[arguments.length - 1]; (async () => { \
             let all = JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie; \
             for (const name of await caches.keys()) { const cache = await caches.open(name); \
             for (const key of await cache.keys()) all += key.url + await (await cache.match(key)).text(); } \
             for (const { name } of await indexedDB.databases()) all += JSON.stringify(await new Promise((good, bad) => { \
             const open = indexedDB.open(name); open.onerror = bad; open.onsuccess = () => { \
             const rows = open.result.transaction('outbox').objectStore('outbox').getAll(); \
             rows.onsuccess = () => { good(rows.result); open.result.close(); }; }; })); \
             return all; })().then(done, e => done(String(e)))",
        );
        let kept = kept.as_str().unwrap();
        assert!(kept.contains("<form") || kept.contains("\"outbox\"") || !kept.contains("rror"), "{kept}");
        assert!(!told(kept), "kept in the browser");
    }

    /// Checks the page with axe-core: no violation of WCAG 2.2 A and AA.
    #[track_caller]
    pub(crate) fn accessible(&self, state: &str) {
        self.script(include_str!("axe/axe.min.js"));
        let found = self.script_async(
            "const done = arguments[arguments.length - 1]; \
             axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}) \
             .then(r => done(r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.target.join(' '))])), e => done(String(e)));",
        );
        assert_eq!(found, json!([]), "{state}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser; an error means that it is gone already.
        let _ = self.runtime.block_on(self.client.clone().close());
    }
}

fn capabilities(reader: Reader, folder: &Path) -> serde_json::Map<String, Value> {
    let mut arguments = vec![
        "--headless=new".to_owned(),
        // The tests of a container run as root, where Chromium's own sandbox does not work.
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--hide-scrollbars".to_owned(),
        format!("--lang={}", reader.language),
        format!("--user-data-dir={}", folder.join("profile").display()),
    ];
    arguments.push(format!("--accept-lang={}", reader.language));
    let mut preferences = json!({"intl.accept_languages": reader.language});
    if !reader.scripts {
        preferences["profile.managed_default_content_settings.javascript"] = 2.into();
    }
    let options = json!({"args": arguments, "prefs": preferences});
    let all = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}});
    all.as_object().unwrap().clone()
}

/// A program on the search path.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
