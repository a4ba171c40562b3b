"""What clients may ask: types, inputs, enums and scalars. Declarations; how root fields are answered is in `resolvers`."""
