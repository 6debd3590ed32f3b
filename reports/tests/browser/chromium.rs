//! Drives Chromium through its debugging pipe: messages in JSON, each ended by a zero byte, on descriptors 3 and 4.

// Each test program uses a part of it.
#![allow(dead_code)]

use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Programs that may be there.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The longest time that an answer may take. Nothing is measured: without it a browser that hangs would hang the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at something that is waited for.
const TURN: Duration = Duration::from_millis(20);

/// A running browser with one page open.
pub struct Browser {
    child: Child,
    to: UnixStream,
    from: UnixStream,
    read: Vec<u8>,
    next: u64,
    session: Option<String>,
    /// Errors of scripts so far.
    pub errors: Vec<String>,
    folder: tempfile::TempDir,
}

/// The browser of this machine; None if there is none that says its version.
fn program() -> Option<&'static str> {
    let works = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    NAMES.iter().find(works).copied()
}

impl Browser {
    /// Starts the browser; None, with a line that says so, if this machine has none.
    pub fn start() -> Option<Browser> {
        let Some(program) = program() else {
            println!("skipped: no Chromium");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (to, input) = UnixStream::pair().expect("sockets");
        let (from, output) = UnixStream::pair().expect("sockets");
        from.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null", program])
            // The page is our own, and root has no sandbox.
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .stdin(Stdio::from(OwnedFd::from(input)))
            .stdout(Stdio::from(OwnedFd::from(output)))
            .stderr(File::create(folder.path().join("log")).expect("a file"))
            .spawn()
            .expect("sh starts");
        let mut browser =
            Browser { child, to, from, read: Vec::new(), next: 0, session: None, errors: Vec::new(), folder };
        let target = browser.send("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.send("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.send("Runtime.enable", json!({}));
        browser.send("Page.enable", json!({}));
        browser.send("Network.enable", json!({}));
        Some(browser)
    }

    /// Sends a command and returns its result.
    #[track_caller]
    pub fn send(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        if answer["error"].is_object() {
            self.fail(method, &answer["error"].to_string());
        }
        answer["result"].clone()
    }

    /// Sends a command and returns its answer, which may be an error.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let text = format!("{message}\0");
        if let Err(error) = self.to.write_all(text.as_bytes()) {
            self.fail(method, &error.to_string());
        }
        loop {
            let answer = self.message(method);
            if answer["id"] == json!(self.next) {
                return answer;
            }
        }
    }

    /// The next message, which may be an event.
    fn message(&mut self, during: &str) -> Value {
        let end = loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == 0) {
                break end;
            }
            let mut chunk = [0; 65536];
            match self.from.read(&mut chunk) {
                Ok(0) => self.fail(during, "the browser has ended"),
                Ok(count) => self.read.extend(&chunk[..count]),
                Err(error) => self.fail(during, &error.to_string()),
            }
        };
        let message: Value = serde_json::from_slice(&self.read[..end]).expect("JSON");
        self.read.drain(..=end);
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.errors.push(message["params"]["exceptionDetails"].to_string()),
            Some("Network.requestWillBeSent") => {
                let url = message["params"]["request"]["url"].as_str().unwrap_or("");
                if !url.starts_with("file:") && !url.starts_with("data:") && url != "about:blank" {
                    self.errors.push(format!("the page asked for {url}"));
                }
            }
            _ => {}
        }
        message
    }

    #[track_caller]
    fn fail(&self, during: &str, reason: &str) -> ! {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("Chromium is installed, and {during} failed: {reason}\n{log}");
    }

    /// Sets the size of the window, whether it is a phone's, and whether its owner prefers dark colours.
    pub fn screen(&mut self, width: u32, height: u32, phone: bool, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.send("Emulation.setDeviceMetricsOverride", size);
        self.send("Emulation.setTouchEmulationEnabled", json!({ "enabled": phone }));
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        // Movements would have to be waited for.
        let motion = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        self.send("Emulation.setEmulatedMedia", json!({ "features": [scheme, motion] }));
    }

    /// Opens a file, with what stands behind the `#` of its address, and waits until its script is ready.
    #[track_caller]
    pub fn open(&mut self, file: &Path, state: &str) {
        // An address that differs in its fragment alone would not load the page again.
        self.send("Page.navigate", json!({ "url": "about:blank" }));
        self.send("Page.navigate", json!({ "url": format!("file://{}{state}", file.display()) }));
        self.wait("document.documentElement.dataset.ready !== undefined");
    }

    /// The value of an expression, which may be a promise.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.send("Runtime.evaluate", params);
        if answer["exceptionDetails"].is_object() {
            self.fail(expression, &answer["exceptionDetails"]["exception"]["description"].to_string());
        }
        answer["result"]["value"].clone()
    }

    /// The value of an expression as text.
    #[track_caller]
    pub fn text(&mut self, expression: &str) -> String {
        match self.value(expression) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// Waits until an expression is true. While a page is replaced by the next one there may be nothing to ask.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let params = json!({ "expression": format!("Boolean({expression})"), "returnByValue": true });
        let turns = PATIENCE.as_millis() / TURN.as_millis();
        for _ in 0..turns {
            if self.ask("Runtime.evaluate", params.clone())["result"]["result"]["value"] == json!(true) {
                return;
            }
            std::thread::sleep(TURN);
        }
        self.fail(expression, "it did not become true");
    }

    /// Presses a key, with modifiers: 2 Ctrl, 8 Shift.
    pub fn key(&mut self, key: &str, modifiers: u8) {
        let text = match key {
            "Enter" => Some("\r"),
            one if one.len() == 1 => Some(one),
            _ => None,
        };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            " " => 32,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => 0,
        };
        let mut press = json!({
            "type": if text.is_some() { "keyDown" } else { "rawKeyDown" },
            "key": key, "code": key, "modifiers": modifiers, "windowsVirtualKeyCode": code,
        });
        if let Some(text) = text {
            press["text"] = json!(text);
        }
        self.send("Input.dispatchKeyEvent", press);
        self.send(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "code": key, "modifiers": modifiers }),
        );
    }

    /// Types a text into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.send("Input.insertText", json!({ "text": text }));
    }

    /// The middle of the element of an expression, after scrolling to it and what the page does when it scrolls.
    #[track_caller]
    pub fn place(&mut self, element: &str) -> (f64, f64) {
        let found = self.value(&format!(
            "(async () => {{ const one = {element}; one.scrollIntoView({{ block: 'center', inline: 'center' }}); \
             for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame); const box = one.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; }})()"
        ));
        let at = |i: usize| found[i].as_f64().unwrap_or(f64::NAN);
        (at(0), at(1))
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64), more: Value) {
        let mut params = json!({ "type": kind, "x": x, "y": y });
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        self.send("Input.dispatchMouseEvent", params);
    }

    /// Moves the pointer onto an element.
    #[track_caller]
    pub fn point(&mut self, element: &str) {
        let at = self.place(element);
        self.mouse("mouseMoved", at, json!({}));
    }

    /// Clicks on an element.
    #[track_caller]
    pub fn click(&mut self, element: &str) {
        let at = self.place(element);
        self.mouse("mouseMoved", at, json!({}));
        let button = json!({ "button": "left", "clickCount": 1, "buttons": 1 });
        self.mouse("mousePressed", at, button.clone());
        self.mouse("mouseReleased", at, button);
    }

    /// Turns the wheel over an element, with modifiers as in [`Browser::key`].
    pub fn wheel(&mut self, element: &str, by: f64, modifiers: u8) {
        let at = self.place(element);
        self.mouse("mouseMoved", at, json!({}));
        self.mouse("mouseWheel", at, json!({ "deltaX": 0, "deltaY": by, "modifiers": modifiers }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
