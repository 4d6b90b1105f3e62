//! WIT shell of allocator-id.

gpumm_strategy_shell::strategy_shell!(gpumm_allocator_id::Id);
