//! The vectors of `docs/wire-vectors.json`, which whoever speaks to a lattice from another language can test with.

use serde_json::Value;

use super::{Shape, json};

/// A type as the vectors write it: WIT, with records and their like in braces where they are used.
struct Parser<'t>(&'t str);

impl<'t> Parser<'t> {
    fn eat(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn word(&mut self) -> &'t str {
        self.0 = self.0.trim_start();
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// What stands between `open` and `close`, separated by commas.
    fn list<T>(&mut self, open: &str, close: &str, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        assert!(self.eat(open), "`{open}` before `{}`", self.0);
        let mut all = vec![one(self)];
        while self.eat(",") {
            all.push(one(self));
        }
        assert!(self.eat(close), "`{close}` before `{}`", self.0);
        all
    }

    /// The type in angles, where there is one.
    fn typed(&mut self) -> Option<Box<Shape>> {
        self.0.trim_start().starts_with('<').then(|| Box::new(self.list("<", ">", Self::shape).remove(0)))
    }

    fn shape(&mut self) -> Shape {
        match self.word() {
            "bool" => Shape::Bool,
            "s8" => Shape::S8,
            "u8" => Shape::U8,
            "s16" => Shape::S16,
            "u16" => Shape::U16,
            "s32" => Shape::S32,
            "u32" => Shape::U32,
            "s64" => Shape::S64,
            "u64" => Shape::U64,
            "f32" => Shape::F32,
            "f64" => Shape::F64,
            "char" => Shape::Char,
            "string" => Shape::String,
            "own" => Shape::Own,
            "borrow" => Shape::Borrow,
            "list" => {
                assert!(self.eat("<"));
                let of = Box::new(self.shape());
                let length = self.eat(",").then(|| self.word().parse().unwrap());
                assert!(self.eat(">"));
                length.map_or(Shape::List(of.clone()), |length| Shape::FixedList(of, length))
            }
            "map" => {
                let mut of = self.list("<", ">", Self::shape).into_iter();
                Shape::Map(Box::new((of.next().unwrap(), of.next().unwrap())))
            }
            "tuple" => Shape::Tuple(self.list("<", ">", Self::shape).into()),
            "stream" => Shape::Stream(self.typed()),
            "future" => Shape::Future(self.typed()),
            "option" => Shape::Option(Box::new(self.list("<", ">", Self::shape).remove(0))),
            "result" => {
                let mut of =
                    self.list("<", ">", |p| if p.eat("_") { None } else { Some(Box::new(p.shape())) }).into_iter();
                Shape::Result(of.next().unwrap(), of.next().unwrap())
            }
            "record" => Shape::Record(
                self.list("{", "}", |p| {
                    let name = p.word().into();
                    assert!(p.eat(":"));
                    (name, p.shape())
                })
                .into(),
            ),
            "variant" => Shape::Variant(
                self.list("{", "}", |p| {
                    let name = p.word().into();
                    let payload = p.eat("(").then(|| p.shape());
                    assert!(payload.is_none() || p.eat(")"));
                    (name, payload)
                })
                .into(),
            ),
            "enum" => Shape::Enum(self.list("{", "}", |p| p.word().into()).into()),
            "flags" => Shape::Flags(self.list("{", "}", |p| p.word().into()).into()),
            other => panic!("no type `{other}`"),
        }
    }
}

#[test]
fn the_published_vectors_hold() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../../docs/wire-vectors.json")).unwrap();
    assert!(vectors.len() > 30);
    for vector in vectors {
        let (ty, value) = (vector["type"].as_str().unwrap(), &vector["json"]);
        let mut parser = Parser(ty);
        let shape = parser.shape();
        assert!(parser.0.trim().is_empty(), "{ty}");
        let bytes = json::result_from_json(Some(&shape), value.to_string().as_bytes()).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, vector["postcard"].as_str().unwrap(), "{vector}");
        let back: Value = serde_json::from_slice(&json::result_to_json(Some(&shape), &bytes).unwrap()).unwrap();
        assert_eq!(back, *value, "{ty}");
    }
}
