//! Devices that perform plans: the trait, and the simulated device.
