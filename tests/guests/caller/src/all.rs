//! Values of every type to the library and back.

use crate::test::library::echo::{self, Color, Many, Point, Shape, Small, Wide};

/// The names of those that came back otherwise.
pub fn all() -> String {
    let mut wrong = Vec::new();
    let mut check = |name: &str, same: bool| {
        if !same {
            wrong.push(name.to_owned());
        }
    };
    let integers = (u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN);
    let (a, b, c, d, e, f, g, h) = integers;
    check("integers", echo::integers(a, b, c, d, e, f, g, h) == integers);
    for (narrow, wide) in [
        (-0.0, -0.0),
        (f32::from_bits(0x7fc0_1234), f64::from_bits(0x7ff8_0000_dead_beef)),
        (f32::INFINITY, f64::NEG_INFINITY),
        (f32::MIN_POSITIVE, f64::MAX),
    ] {
        let back = echo::floats(narrow, wide);
        check("floats", back.0.to_bits() == narrow.to_bits() && back.1.to_bits() == wide.to_bits());
    }
    check("truth", echo::truth(true) && !echo::truth(false));
    check("letter", ['a', 'é', '😀', '\0', char::MAX].into_iter().all(|letter| echo::letter(letter) == letter));
    check("text", ["", "plain", "grün 😀\0"].into_iter().all(|text| echo::text(text) == text));
    check("bytes", echo::bytes(&[0, 255, 7]) == [0, 255, 7] && echo::bytes(&[]).is_empty());
    let texts = vec![String::new(), "x".repeat(1000)];
    check("texts", echo::texts(&texts) == texts);
    let numbers: Vec<u64> = (0..1000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    check("numbers", echo::numbers(&numbers) == numbers);
    let nested = vec![vec![], vec![Some(1), None], vec![None]];
    check("nested", echo::nested(&nested) == nested);
    let point = Point { x: -3, y: 0.1 };
    check("point", echo::one_point(point) == point);
    let wide = Wide {
        a: 1 << 63,
        b: "b".into(),
        c: vec![1, 2, 3],
        d: 1.5,
        e: 'ß',
        f: Some("there".into()),
        g: true,
        h: (1, -1, 2, -2),
        i: -1,
    };
    check("wide", echo::one_wide(&wide, &wide) == wide);
    let shapes = vec![
        Shape::Empty,
        Shape::Circle(2.5),
        Shape::Named("n".into()),
        Shape::Polygon(vec![point; 3]),
        Shape::Either(Ok(7)),
        Shape::Either(Err("e".into())),
    ];
    check("shapes", echo::shapes(&shapes) == shapes);
    check("shape", shapes.iter().all(|shape| echo::one_shape(shape) == *shape));
    check("color", [Color::Red, Color::Green, Color::Blue].into_iter().all(|color| echo::one_color(color) == color));
    check("small", echo::few_flags(Small::A | Small::C) == Small::A | Small::C);
    check("many", echo::all_flags(Many::F0 | Many::F15 | Many::F31) == Many::F0 | Many::F15 | Many::F31);
    check("maybe", [None, Some(None), Some(Some(9))].into_iter().all(|maybe| echo::maybe(maybe) == maybe));
    let outcomes = [Ok(1), Err("no".to_owned())];
    check(
        "outcome",
        outcomes.iter().all(|outcome| echo::outcome(outcome.as_ref().map(|n| *n).map_err(|e| e.as_str())) == *outcome),
    );
    echo::nothing();
    if wrong.is_empty() { "all the same".to_owned() } else { format!("changed: {wrong:?}") }
}
