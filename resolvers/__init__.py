"""How root fields are answered: queries, mutations, subscriptions, and the projection a selection asks for."""
