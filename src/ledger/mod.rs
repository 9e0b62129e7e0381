//! East wing.
mod block;
mod disk;
mod index;
