//! Next to nothing: what is left of a call to it is the price of calling.

wit_bindgen::generate!({
    inline: r#"
        package test:tiny@0.1.0;
        interface calc {
            add: func(a: u32, b: u32) -> u32;
        }
        world tiny {
            export calc;
        }
    "#,
});

struct Tiny;

impl exports::test::tiny::calc::Guest for Tiny {
    fn add(a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
}

export!(Tiny);
