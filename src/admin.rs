//! The admin process.
