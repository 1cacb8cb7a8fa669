//! Lengths and points of time as providers write them. What is ambiguous or implausible is
//! refused, never cut to what would do.

mod jwt;
mod length;
mod moment;
mod number;
mod retry_after;

pub use jwt::JwtDates;
pub use length::length_of;
pub use moment::{http_date, moment_of};
pub use number::TimeFault;
pub use retry_after::retry_after;
