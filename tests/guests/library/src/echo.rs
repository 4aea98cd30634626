//! Every value as it came.

use crate::{
    Library,
    exports::test::library::echo::{Color, Guest, Many, Point, Shape, Small, Wide},
};

impl Guest for Library {
    #[allow(clippy::too_many_arguments)]
    fn integers(
        a: u8,
        b: i8,
        c: u16,
        d: i16,
        e: u32,
        f: i32,
        g: u64,
        h: i64,
    ) -> (u8, i8, u16, i16, u32, i32, u64, i64) {
        (a, b, c, d, e, f, g, h)
    }
    fn floats(a: f32, b: f64) -> (f32, f64) {
        (a, b)
    }
    fn truth(a: bool) -> bool {
        a
    }
    fn letter(a: char) -> char {
        a
    }
    fn text(a: String) -> String {
        a
    }
    fn bytes(a: Vec<u8>) -> Vec<u8> {
        a
    }
    fn texts(a: Vec<String>) -> Vec<String> {
        a
    }
    fn numbers(a: Vec<u64>) -> Vec<u64> {
        a
    }
    fn nested(a: Vec<Vec<Option<u16>>>) -> Vec<Vec<Option<u16>>> {
        a
    }
    fn one_point(a: Point) -> Point {
        a
    }
    fn one_wide(a: Wide, _b: Wide) -> Wide {
        a
    }
    fn one_shape(a: Shape) -> Shape {
        a
    }
    fn shapes(a: Vec<Shape>) -> Vec<Shape> {
        a
    }
    fn one_color(a: Color) -> Color {
        a
    }
    fn few_flags(a: Small) -> Small {
        a
    }
    fn all_flags(a: Many) -> Many {
        a
    }
    fn maybe(a: Option<Option<u32>>) -> Option<Option<u32>> {
        a
    }
    fn outcome(a: Result<u32, String>) -> Result<u32, String> {
        a
    }
    fn nothing() {}
}
