//! A page that shows the lattice as it is, for browsers.
//!
//! ```text
//! the painter    the store, the hosts' counts  -> the picture, replaced as a whole while somebody looks
//! a request      let in by its key             -> files of the page, the picture, answers out of the lattice
//! ```
//!
//! The page speaks with the rights of who serves it. So it is answered only to a browser that has the key, which stands in
//! the address that is opened first: nobody else on the machine has that, and no other page.

mod answers;
mod assets;
mod change;
mod door;
mod picture;

pub use answers::Page;
pub use change::{Change, Changes, Nobody, Refusal};
pub use door::Door;
