use proptest::prelude::*;

use super::{
    Found, FunctionShape, Shape, ValueError,
    binary::{Reader, put_bytes, put_char, put_signed, put_varint},
    json,
    samples::{self, Dice},
};

proptest! {
    #[test]
    fn any_value_comes_back_from_json(seed: u64) {
        let mut dice = Dice::new(seed);
        let shape = if dice.below(4) == 0 { samples::streams(3, &mut dice) } else { samples::shape(4, &mut dice) };
        let bytes = samples::value(&shape, &mut dice);
        let function = FunctionShape { params: [].into(), result: Some(shape.clone()) };
        prop_assert_eq!(function.scan_result(&bytes), Ok(Found::default()));
        let text = json::result_to_json(Some(&shape), &bytes).unwrap();
        let back = json::result_from_json(Some(&shape), &text);
        prop_assert_eq!(back, Ok(bytes.clone()), "{}", String::from_utf8_lossy(&text));
        let function = FunctionShape { params: [("p".into(), shape)].into(), result: None };
        let text = json::arguments_to_json(&function, &bytes).unwrap();
        prop_assert_eq!(json::arguments_from_json(&function, &text), Ok(bytes));
    }

    #[test]
    fn any_bytes_never_panic(seed: u64, bytes: Vec<u8>, text in "\\PC{0,40}") {
        let mut dice = Dice::new(seed);
        let shape = if dice.below(4) == 0 { samples::streams(3, &mut dice) } else { samples::shape(4, &mut dice) };
        let _ = json::result_to_json(Some(&shape), &bytes);
        let _ = json::result_from_json(Some(&shape), text.as_bytes());
        let _ = json::result_from_json(Some(&shape), &bytes);
    }

    #[test]
    fn numbers_are_those_of_postcard(unsigned: u64, signed: i64, text: String, char: char) {
        let mut out = Vec::new();
        put_varint(&mut out, unsigned);
        put_signed(&mut out, signed);
        put_bytes(&mut out, text.as_bytes());
        put_char(&mut out, char);
        prop_assert_eq!(&out, &postcard::to_stdvec(&(unsigned, signed, &text, char)).unwrap());
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.varint(), Ok(unsigned));
        prop_assert_eq!(reader.signed(), Ok(signed));
        prop_assert_eq!(reader.text(), Ok(&*text));
        prop_assert_eq!(reader.char(), Ok(char));
        prop_assert_eq!(reader.finish(), Ok(()));
    }
}

#[test]
fn an_error_names_the_place() {
    let inner = Shape::Record([("count".into(), Shape::U8), ("name".into(), Shape::String)].into());
    let function = FunctionShape { params: [("items".into(), Shape::List(Box::new(inner)))].into(), result: None };
    let wrong = |json: &str| json::arguments_from_json(&function, json.as_bytes()).unwrap_err().to_string();
    assert_eq!(wrong(r#"[[{"count": 300, "name": ""}]]"#), "items.0.count: expected u8, found 300");
    assert_eq!(
        wrong(r#"[[{"count": 3}]]"#),
        "items.0: expected an object with `count`, `name`, found none with `name`"
    );
    assert_eq!(wrong("[1, 2]"), "arguments: expected 1 arguments (items), found 2");
    assert_eq!(wrong("{}"), "arguments: expected an array with the arguments, found {}");
}

#[test]
fn a_length_that_lies_is_refused() {
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let error = Reader::new(&lie).length().unwrap_err();
    assert_eq!(error, ValueError::Length { len: 0xffff_ffff, left: 0 });
}
