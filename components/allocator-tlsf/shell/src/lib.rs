//! WIT shell of allocator-tlsf.

gpumm_strategy_shell::strategy_shell!(gpumm_allocator_tlsf::Tlsf);
