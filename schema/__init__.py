"""What clients may ask: types, inputs, enums and scalars. Declarations only."""

# The service's enums are known to GraphQL only once this is imported, and every module here may name one.
from schema import enums as enums
