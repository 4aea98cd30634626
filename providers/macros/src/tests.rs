use wit_parser::Resolve;

use crate::{expand, options::Options};

/// The code for a world, or why there is none.
fn made(wit: &str) -> Result<String, String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_source("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    expand(&resolve, world).map(|code| code.to_string()).map_err(|error| error.to_string())
}

/// Why there is no code for an interface `i` of this content.
fn refused(content: &str) -> String {
    made(&format!("package a:b@1.0.0; interface i {{ {content} }} world w {{ export i; }}")).unwrap_err()
}

#[test]
fn what_a_provider_cannot_have_is_named_with_its_place() {
    assert_eq!(
        refused("resource session { constructor(); }"),
        "interface `a:b/i@1.0.0`: the type `session` is a resource; any instance of a provider answers any call, so that \
         none can keep something for its caller: pass a name or a number with each call instead"
    );
    let cannot = |place: &str, what: &str| {
        format!("interface `a:b/i@1.0.0`: `{place}` has a {what} in it, which a provider can neither take nor return")
    };
    assert_eq!(refused("read: func() -> stream<u16>;"), cannot("read", "stream"));
    assert_eq!(refused("read: func() -> stream;"), cannot("read", "stream"));
    assert_eq!(refused("wait: func(until: option<future<u8>>);"), cannot("wait", "future"));
    assert_eq!(refused("record r { a: list<tuple<u8, stream<u8>>> } f: func(r: r);"), cannot("r", "stream"));
    assert_eq!(refused("type late = future; f: func(l: late);"), cannot("late", "future"));
    assert_eq!(
        refused("f: func(t: tuple<u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8>);"),
        "interface `a:b/i@1.0.0`: `f` has a tuple of 13 parts; a tuple has 1 to 12, use a record"
    );
    let long = "a".repeat(201);
    assert_eq!(
        refused(&format!("{long}: func();")),
        format!("the name `{long}` is longer than the 200 bytes that a lattice carries")
    );
}

#[test]
fn a_resource_of_another_interface_is_refused_as_well() {
    let wit = "package a:b; interface o { resource r; } interface i { use o.{r}; f: func(r: borrow<r>); } world w { export i; }";
    assert!(made(wit).unwrap_err().starts_with("interface `a:b/o`: the type `r` is a resource"));
}

#[test]
fn what_has_no_interface_has_no_subject() {
    assert_eq!(
        made("package a:b; world w { export run: func(); }").unwrap_err(),
        "world `w` has the function `run` outside of an interface; calls in a lattice are to functions of interfaces, so \
         move it into one"
    );
    assert_eq!(
        made("package a:b; world w { export i: interface { f: func(); } }").unwrap_err(),
        "world `w` has the interface `i` inline, which gives it no name that others could call it by; move it out of the \
         world"
    );
}

#[test]
fn two_interfaces_of_one_name_are_told_apart_by_the_author() {
    let wit = "package a:b; world w { export c:d/i; export e:f/i; } package c:d { interface i { f: func(); } } \
               package e:f { interface i { f: func(); } }";
    assert_eq!(
        made(wit).unwrap_err(),
        "the interfaces `c:d/i` and `e:f/i` would both be the module `i`; use `generate!` twice, with a world for each, in \
         modules of your own"
    );
}

#[test]
fn only_what_is_exported_is_served() {
    let both = "package a:b; interface i { f: func(); } interface types { type t = u8; }";
    let called = made(&format!("{both} world w {{ import i; import types; }}")).unwrap();
    assert!(called.contains("struct Remote") && !called.contains("struct Handler") && !called.contains("fn serve"));
    let served = made(&format!("{both} world w {{ import i; export i; export types; }}")).unwrap();
    assert_eq!(served.matches("struct Remote").count(), 1);
    assert!(served.contains("struct Handler") && served.contains("fn serve (provider : impl i :: I)"), "{served}");
    assert!(!made("package a:b; world w { }").unwrap().contains("fn serve"));
}

#[test]
fn streams_of_bytes_need_a_place_to_be_exchanged() {
    let wit = "package a:b; interface i { f: func(data: stream<u8>) -> result<tuple<u64, stream<u8>>, string>; g: func(); } \
               world w { export i; }";
    let code = made(wit).unwrap();
    for part in [
        "fn f (& self , data : :: lattice_provider :: ByteStream)",
        "Handler (pub :: std :: sync :: Arc < dyn I > , pub wit :: Exchange)",
        "fn serve (provider : impl i :: I , exchange : :: lattice_provider :: wit :: Exchange)",
        "CONTRACT . call :: < _ , () >",
    ] {
        assert!(code.contains(part), "{part} in {code}");
    }
}

#[test]
fn names_that_are_taken_get_an_underscore() {
    let wit = "package a:b; interface handler { enum remote { %self, super } record handler { %box: bool } \
               %type: func(fn: handler, %self: remote); } world w { export handler; }";
    let code = made(wit).unwrap();
    for part in ["trait Handler_ ", "struct Handler ", "enum Remote_ { Self_ , Super , }", "struct Handler__"] {
        assert!(code.contains(part), "{part}");
    }
    assert!(code.contains("async fn r#type (& self , r#fn : Handler__ , self_ : Remote_)"), "{code}");
}

#[test]
fn options_say_what_they_are() {
    let options = |text: &str| syn::parse_str::<Options>(text).map_err(|error| error.to_string());
    let all = options("{ path: [\"a\", \"b\"], world: \"w\" }").unwrap();
    assert_eq!((all.paths, all.world.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("w")));
    for none in ["", "{}", "{ world: \"w\", }"] {
        assert_eq!(options(none).unwrap().paths, ["wit"]);
    }
    assert_eq!(options("{ wrold: \"w\" }").unwrap_err(), "there is no `wrold`, only `path`, `world`");
    assert_eq!(options("{ world: \"w\", world: \"v\" }").unwrap_err(), "`world` is there twice");
    assert_eq!(options("{ path: [] }").unwrap_err(), "unexpected end of input, expected a path");
}
