" Scripts and settings are what people edit here.
set nocompatible expandtab tabstop=2 shiftwidth=2 autoindent ruler
