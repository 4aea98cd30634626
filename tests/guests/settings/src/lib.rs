//! Settings and the log, for the tests: `/get/KEY` is the value of a setting, `/all` is all of them, a line each.
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

struct Settings;

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
