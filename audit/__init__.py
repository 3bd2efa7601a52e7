"""`make audit`: what other people's tools say of the templates, the roles and the dependencies."""
