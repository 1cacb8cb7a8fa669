//! Behaviours of the whole server, on real parts. One binary, so that it is linked once.

mod kit;

mod reads;
