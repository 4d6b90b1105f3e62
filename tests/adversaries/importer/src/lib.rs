//! Imports a clock, which no strategy is offered.

gpumm_strategy_shell::strategy_shell!(gpumm_allocator_tlsf::Tlsf);

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package gpumm:importer;
            world importer {
                import now: func() -> u64;
                export late: func() -> bool;
            }
        ",
    });
}

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
struct Importer;

// What is imported and not called would not be in the component.
impl bindings::Guest for Importer {
    fn late() -> bool {
        bindings::now() != 0
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Importer with_types_in bindings);
