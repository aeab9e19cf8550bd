//! Groups, driven by hand.
