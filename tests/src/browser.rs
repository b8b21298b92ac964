//! A real browser, driven through its WebDriver.

use std::env;
use std::path::PathBuf;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use url::{ParseError, Url};

use crate::program::Program;
use crate::{DEADLINE, within};

/// A headless Chromium with a separate profile.
///
/// The browser is a child of the test and not of the driver: a driver that is killed leaves its browser behind.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    // Dropped in this order: driver, browser, and then the folder that the browser writes to.
    _driver: Program,
    _chromium: Program,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser and its driver.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile can be made");
        let (chromium, debugger) = start_chromium(&profile).await;
        let (driver, address) = start_driver().await;
        let options = json!({ "debuggerAddress": debugger });
        let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let client = within("a browser session", builder.connect(&address)).await;
        let client = client.expect("the driver opens a session");
        Self { client, _driver: driver, _chromium: chromium, _profile: profile }
    }

    /// Opens `url` in a new tab.
    pub async fn open(&self, url: &str) -> Tab<'_> {
        let made = within("a new tab", self.client.new_window(true)).await.expect("a tab opens");
        let tab = Tab { client: &self.client, handle: made.handle };
        tab.goto(url).await;
        tab
    }
}

/// A tab of a [`Browser`].
///
/// The driver knows one current tab: use the tabs of a browser in turn, not at the same time.
#[derive(Debug)]
pub struct Tab<'a> {
    client: &'a Client,
    handle: WindowHandle,
}

impl Tab<'_> {
    /// Loads another page.
    pub async fn goto(&self, url: &str) {
        within("a page", self.current().await.goto(url)).await.expect("the page loads");
    }

    /// Closes the tab.
    pub async fn close(self) {
        within("a tab's end", self.current().await.close_window()).await.expect("the tab closes");
    }

    /// The address that the tab shows.
    pub async fn url(&self) -> String {
        let url = within("an address", self.current().await.current_url()).await;
        url.expect("a tab has an address").to_string()
    }

    /// Types into the element with this id.
    pub async fn fill(&self, id: &str, text: &str) {
        let client = self.current().await;
        let element = within(id, client.find(Locator::Id(id))).await.expect("the element is there");
        within(id, element.send_keys(text)).await.expect("the element takes text");
    }

    /// Clicks the element with this id.
    pub async fn click(&self, id: &str) {
        let client = self.current().await;
        let element = within(id, client.find(Locator::Id(id))).await.expect("the element is there");
        within(id, element.click()).await.expect("the element can be clicked");
    }

    /// Runs the body of a function in the page, and returns its result.
    pub async fn eval(&self, script: &str, arguments: Vec<Value>) -> Value {
        let client = self.current().await;
        within(script, client.execute(script, arguments)).await.expect("the script runs")
    }

    /// Waits until the body of a function returns true. A script that fails is run again: a reload of the page aborts it.
    pub async fn until(&self, what: &str, script: &str) {
        let client = self.current().await;
        let mut last = None;
        let met = async {
            loop {
                match client.execute(script, Vec::new()).await {
                    Ok(Value::Bool(true)) => break,
                    outcome => last = outcome.err(),
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, met).await.is_err() {
            assert!(last.is_none(), "{what}: the script does not run: {last:?}");
            let text = self.eval("return document.body.innerText", Vec::new()).await;
            panic!("{what}: not within {DEADLINE:?}; the page shows {text}");
        }
    }

    /// Disconnects the page from the network, or connects it again.
    pub async fn set_offline(&self, offline: bool) {
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.devtools("Network.emulateNetworkConditions", conditions).await;
    }

    /// Sets the size of the page, and its dark or light theme.
    pub async fn look(&self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn devtools(&self, method: &'static str, parameters: Value) {
        let client = self.current().await;
        let command = Devtools { method, parameters };
        within(method, client.issue_cmd(command)).await.expect("the browser knows the command");
    }

    /// A picture of the tab, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        within("a picture", self.current().await.screenshot()).await.expect("the tab can be drawn")
    }

    async fn current(&self) -> &Client {
        let switch = self.client.switch_to_window(self.handle.clone());
        within("a tab", switch).await.expect("the tab is still open");
        self.client
    }
}

/// A command of the browser's protocol, which the driver forwards.
#[derive(Debug)]
struct Devtools {
    method: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.method, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

async fn start_chromium(profile: &TempDir) -> (Program, String) {
    let mut command = Command::new(found(&["chromium", "chromium-browser", "google-chrome"]));
    // Without a sandbox: it needs rights that most containers lack, and the pages are ours.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    // The timers of a hidden tab are slow, and reconnecting depends on one.
    command.args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"]);
    command.args(["--disable-backgrounding-occluded-windows", "--no-first-run", "--no-proxy-server"]);
    command.args(["--remote-debugging-port=0"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg("about:blank");
    Program::start(command, |line| {
        let rest = line.strip_prefix("DevTools listening on ws://")?;
        Some(rest.split_once('/')?.0.to_owned())
    })
    .await
}

async fn start_driver() -> (Program, String) {
    let mut command = Command::new(found(&["chromedriver"]));
    command.arg("--port=0");
    Program::start(command, |line| {
        let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
        Some(format!("http://127.0.0.1:{}", port.trim_end_matches('.')))
    })
    .await
}

fn found(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    let mut places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let place = places.find(|place| place.is_file());
    place.unwrap_or_else(|| panic!("{} is missing: run tests/run.sh", names[0]))
}
