//! Functions that other components call.

wit_bindgen::generate!({ path: "wit", world: "component", generate_all });

use exports::local::{{snake}}::greeter::Guest;

struct Component;

impl Guest for Component {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }
}

export!(Component);
