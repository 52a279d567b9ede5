<?php

// Nothing to do: such migrations skip themselves, as some of Mautic's do.
return [];
