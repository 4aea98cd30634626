//! Settings, secrets and the log, for the tests: `/get/KEY` is the value of a setting, `/all` is all of them, a line each.
//! `/secret/KEY` is that of a secret.
//! `/log/LEVEL` writes the body to the log, `/old` writes it by the interface as it was before it had a version.

use guest_http::{
    Guest, read_body, respond, target,
    wasi::{
        config::store,
        http::types::{IncomingRequest, ResponseOutparam},
        logging::logging::{Level, log},
    },
};

mod old {
    wit_bindgen::generate!({
        inline: r#"
            package test:old;

            world old {
                import wasi:logging/logging;
            }

            package wasi:logging {
                interface logging {
                    enum level { trace, debug, info, warn, error, critical }
                    log: func(level: level, context: string, message: string);
                }
            }
        "#,
        world: "test:old/old",
        generate_all,
    });
}

mod secrets {
    wit_bindgen::generate!({ path: "../../../wit/secrets", world: "wasmcloud:secrets/imports", generate_all });
}

struct Settings;

/// A secret with the status that says how it was found.
fn secret(key: &str) -> (u16, Vec<u8>) {
    use secrets::wasmcloud::secrets::{
        reveal::reveal,
        store::{SecretValue, SecretsError, get},
    };
    match get(key).map(|secret| reveal(&secret)) {
        Ok(SecretValue::String(text)) => (200, text.into_bytes()),
        Ok(SecretValue::Bytes(bytes)) => (206, bytes),
        Err(SecretsError::NotFound) => (404, Vec::new()),
        Err(SecretsError::Io(reason)) => (502, reason.into_bytes()),
        Err(SecretsError::Upstream(reason)) => (503, reason.into_bytes()),
    }
}

impl Guest for Settings {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, _) = target(&request);
        let text = |request| String::from_utf8_lossy(&read_body(request).unwrap_or_default()).into_owned();
        match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
            ["get", key] => match store::get(key) {
                Ok(Some(value)) => respond(out, 200, value),
                Ok(None) => respond(out, 404, "not set"),
                Err(error) => respond(out, 503, format!("{error:?}")),
            },
            ["secret", key] => {
                let (status, value) = secret(key);
                respond(out, status, value);
            }
            ["all"] => match store::get_all() {
                Ok(all) => respond(out, 200, all.iter().map(|(k, v)| format!("{k}={v}\n")).collect::<String>()),
                Err(error) => respond(out, 503, format!("{error:?}")),
            },
            ["log", level] => {
                let level = match *level {
                    "debug" => Level::Debug,
                    "warn" => Level::Warn,
                    "critical" => Level::Critical,
                    _ => Level::Info,
                };
                log(level, "checkout", &text(&request));
                respond(out, 200, "");
            }
            ["old"] => {
                use old::wasi::logging::logging::{Level, log};
                log(Level::Error, "ancient", &text(&request));
                respond(out, 200, "");
            }
            _ => respond(out, 404, "no such path"),
        }
    }
}

guest_http::export!(Settings);
