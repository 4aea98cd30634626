//! A Chromium without a screen, driven by the DevTools protocol over a pipe.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait::eventually;

/// How long something may take to be seen on a page.
const LIMIT: Duration = Duration::from_secs(60);

/// A browser with one page; it ends when dropped.
pub struct Browser {
    process: Child,
    orders: ChildStdin,
    told: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    /// What the page's scripts have complained of.
    pub complaints: Vec<String>,
    _dir: TempDir,
}

impl Browser {
    /// The browser is looked for by LATTICE_CHROMIUM.
    pub fn start() -> Self {
        let program = std::env::var_os("LATTICE_CHROMIUM").expect("LATTICE_CHROMIUM names a Chromium");
        let dir = tempfile::tempdir().unwrap();
        // It reads orders from descriptor 3 and writes to 4: those are our ends of its standard streams.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"]).arg(program);
        command.args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--no-first-run", "--disable-breakpad"]);
        command.args(["--disable-background-networking", "--no-proxy-server"]);
        command.arg(format!("--user-data-dir={}", dir.path().display())).arg("about:blank");
        command.env("XDG_CACHE_HOME", dir.path()).env("HOME", dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut process = command.spawn().unwrap();
        let (orders, told) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut browser = Self { process, orders, told, session: None, last: 0, complaints: Vec::new(), _dir: dir };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Gives an order, and waits for what comes of it.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).expect("the browser takes orders");
        loop {
            let mut message = Vec::new();
            self.told.read_until(0, &mut message).expect("the browser says something");
            let message: Value = serde_json::from_slice(message.strip_suffix(&[0]).expect("the browser runs")).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.listen(&message);
        }
    }

    fn listen(&mut self, message: &Value) {
        let params = &message["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(text(&params["exceptionDetails"]["exception"]["description"]));
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(format!("{} {}", text(&params["entry"]["text"]), text(&params["entry"]["url"])));
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                let words = params["args"].as_array().into_iter().flatten();
                let words = words.map(|word| text(&word["description"]) + &text(&word["value"]));
                self.complaints.push(words.collect::<Vec<_>>().join(" "));
            }
            _ => {}
        }
    }

    pub fn open(&mut self, url: &str) {
        let opened = self.ask("Page.navigate", json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// What an expression is on the page.
    pub fn get(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page.
    pub fn wait(&mut self, expression: &str) {
        let seen = eventually(LIMIT, || (self.get(&format!("Boolean({expression})")) == true).then_some(()));
        if seen.is_none() {
            let page = self.get("document.body.innerText");
            let asked = "performance.getEntriesByType('resource').slice(-12).map((entry) => \
                         `${Math.round(entry.startTime)} ms + ${Math.round(entry.duration)} ms ${entry.name}`).join('\\n')";
            let asked = self.get(&format!("`now ${{Math.round(performance.now())}} ms\\n` + {asked}"));
            let [page, asked] = [&page, &asked].map(|text| text.as_str().unwrap_or_default().to_owned());
            panic!("not within {LIMIT:?}: {expression}\n{page}\nasked:\n{asked}\n{:?}", self.complaints);
        }
    }

    pub fn click(&mut self, selector: &str) {
        self.wait(&format!("document.querySelector({selector:?})"));
        // What is drawn has no `click()` of its own.
        let event = "new MouseEvent('click', { bubbles: true, cancelable: true })";
        self.get(&format!("document.querySelector({selector:?}).dispatchEvent({event})"));
    }

    /// Presses a key, such as `Tab`, `Enter` or `Escape`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            other => panic!("no code is known for {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if key == "Enter" && kind == "keyDown" {
                event["text"] = "\r".into();
            }
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Makes the page so large, in the colours of day or night.
    pub fn shape(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", features);
    }

    /// Keeps a picture of the page among the test's files: for people, who look at it.
    pub fn screenshot(&mut self, name: &str) -> PathBuf {
        let picture = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let dir = std::env::temp_dir().join("lattice-screenshots");
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("{name}.png"));
        std::fs::write(&file, bytes).unwrap();
        file
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It has processes of its own, which are in its group.
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}
