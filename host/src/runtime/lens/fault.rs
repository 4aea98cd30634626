//! Errors of a call as values, where a type has room for them.

use lattice::wire::{
    CallError,
    value::{
        Shape,
        binary::{put_bytes, put_varint},
    },
};
use wasmtime::component::__internal::{InterfaceType, wasmtime_environ::component::ComponentTypes};

/// How a `result` says that a call failed: what stands before the error's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct ErrorRoom(Vec<u8>);

/// What a case of an error type carries, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carries {
    Text,
    /// An `option` of a text.
    MaybeText,
    Other,
}

impl ErrorRoom {
    /// In a `result` of this type: its error is a text, or has a case for what has no other.
    pub(in super::super) fn of(result: &Shape) -> Option<Self> {
        let Shape::Result(_, Some(error)) = result else { return None };
        match &**error {
            Shape::String => Some(Self(vec![1])),
            Shape::Variant(cases) => Self::among(cases.iter().map(|(name, payload)| {
                let carries = match payload {
                    Some(Shape::String) => Carries::Text,
                    Some(Shape::Option(of)) if **of == Shape::String => Carries::MaybeText,
                    _ => Carries::Other,
                };
                (&**name, carries)
            })),
            _ => None,
        }
    }

    /// The same, by a component's own types.
    pub(super) fn of_type(types: &ComponentTypes, result: InterfaceType) -> Option<Self> {
        let InterfaceType::Result(result) = result else { return None };
        match types[result].err? {
            InterfaceType::String => Some(Self(vec![1])),
            InterfaceType::Variant(variant) => Self::among(types[variant].cases.iter().map(|(name, payload)| {
                let carries = match payload {
                    Some(InterfaceType::String) => Carries::Text,
                    Some(InterfaceType::Option(of)) if types[*of].ty == InterfaceType::String => Carries::MaybeText,
                    _ => Carries::Other,
                };
                (name.as_str(), carries)
            })),
            _ => None,
        }
    }

    fn among<'n>(mut cases: impl Iterator<Item = (&'n str, Carries)>) -> Option<Self> {
        let carries = |(name, carries): (&str, Carries)| {
            let room = match name {
                "other" | "unexpected" => Carries::Text,
                "internal-error" => Carries::MaybeText,
                _ => return None,
            };
            (carries == room).then_some(carries)
        };
        let (case, carries) = cases.by_ref().enumerate().find_map(|(index, case)| Some((index, carries(case)?)))?;
        let mut before = vec![1];
        put_varint(&mut before, case as u64);
        if carries == Carries::MaybeText {
            before.push(1);
        }
        Some(Self(before))
    }

    /// The value that says `error`.
    pub(in super::super) fn fill(&self, error: &CallError) -> Vec<u8> {
        let mut bytes = self.0.clone();
        put_bytes(&mut bytes, error.to_string().as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_goes_where_a_type_has_room_for_it() {
        let result = |error: Shape| Shape::Result(None, Some(Box::new(error)));
        let text = || Some(Shape::String);
        let variant = |cases: &[(&str, Option<Shape>)]| {
            Shape::Variant(cases.iter().map(|(name, shape)| ((*name).into(), shape.clone())).collect())
        };
        let error = CallError::Denied("x".into());
        let filled = |shape: Shape| ErrorRoom::of(&shape).map(|room| room.fill(&error));
        let said = |before: &[u8]| {
            let mut bytes = before.to_vec();
            put_bytes(&mut bytes, error.to_string().as_bytes());
            Some(bytes)
        };
        assert_eq!(filled(result(Shape::String)), said(&[1]));
        assert_eq!(filled(result(variant(&[("a", text()), ("other", text())]))), said(&[1, 1]));
        assert_eq!(filled(result(variant(&[("a", text()), ("b", None), ("unexpected", text())]))), said(&[1, 2]));
        let maybe = Some(Shape::Option(Box::new(Shape::String)));
        assert_eq!(filled(result(variant(&[("internal-error", maybe)]))), said(&[1, 0, 1]));
        assert_eq!(filled(result(variant(&[("other", None), ("a", text())]))), None);
        assert_eq!(filled(result(Shape::U8)), None);
        assert_eq!(filled(Shape::String), None);
    }
}
