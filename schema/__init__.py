"""What clients may ask: types, inputs, enums and scalars. Declarations only."""
