//! The admin sockets against a gateway that is none.

mod client;
mod gateway;
mod hostile;
mod requests;
mod watching;

pub(crate) use crate::test_folder::Folder;
