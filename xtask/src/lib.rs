//! Code that the commands of `cargo xtask` share: for other programs, the cache, the tree, the
//! results of tests, and the policy that the VM enforces.

pub mod cache;
pub mod cargo;
pub mod exec;
pub mod failure;
pub mod packages;
pub mod policy;
pub mod table;
pub mod tree;
