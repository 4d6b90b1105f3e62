//! WIT shell of allocator-buddy.

gpumm_strategy_shell::strategy_shell!(gpumm_allocator_buddy::Buddy);
