//! Takes messages, for the tests. What the body says is done:
//!
//! | body | |
//! |---|---|
//! | `fail...` | an error |
//! | `trap...` | a trap |
//! | `slow...` | half a second, then as any other |
//! | `ask SUBJECT` | a request there; what comes of it goes to `seen.ask` |
//! | `send SUBJECT` | a message there; what comes of it goes to `seen.send` |
//! | anything else | goes to the reply subject, else to `seen.SUBJECT`, in capitals |

wit_bindgen::generate!({
    inline: r#"
        package test:messages;
        world messages {
            import wasmcloud:messaging/consumer@0.2.0;
            import wasi:clocks/monotonic-clock@0.2.12;
            export wasmcloud:messaging/handler@0.2.0;
        }
    "#,
    path: ["../../../wit", "../../../wit/messaging"],
    world: "test:messages/messages",
    generate_all,
});

use exports::wasmcloud::messaging::handler::{BrokerMessage as Received, Guest};
use wasi::clocks::monotonic_clock::subscribe_duration;
use wasmcloud::messaging::{
    consumer::{publish, request},
    types::BrokerMessage,
};

struct Messages;

fn send(subject: String, body: String) -> Result<(), String> {
    publish(&BrokerMessage { subject, body: body.into_bytes(), reply_to: None })
}

impl Guest for Messages {
    fn handle_message(msg: Received) -> Result<(), String> {
        let body = String::from_utf8_lossy(&msg.body).into_owned();
        let (word, rest) = body.split_once(' ').unwrap_or((&body, ""));
        match word {
            "fail" => return Err(format!("told to fail by {}", msg.subject)),
            "trap" => panic!("told to trap"),
            "slow" => subscribe_duration(500_000_000).block(),
            "ask" => {
                let said = match request(rest, b"question", 1000) {
                    Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                    Err(error) => format!("error: {error}"),
                };
                return send("seen.ask".to_owned(), said);
            }
            "send" => {
                let said = send(rest.to_owned(), "sent".to_owned());
                return send(
                    "seen.send".to_owned(),
                    said.map_or_else(|error| format!("error: {error}"), |()| "ok".to_owned()),
                );
            }
            _ => {}
        }
        send(msg.reply_to.unwrap_or_else(|| format!("seen.{}", msg.subject)), body.to_uppercase())
    }
}

export!(Messages);
